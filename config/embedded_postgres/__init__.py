"""PostgreSQL without a set-up: a server of this project's own, in a folder of its own.

Every process that uses the server holds a shared lock on ``users.lock`` (``server.py``). A small process, the keeper
(``keeper.py``), starts PostgreSQL as its child and stops it when nobody holds that lock any more. The kernel frees
locks, however a process ends, so no list of users has to be kept or repaired; PostgreSQL in turn is shut down by the
kernel's signal when its keeper dies.
"""
