"""The whole system under attack, judged by the ledgers of those around it; ``make chaos`` runs it.

``director.py`` holds the processes and disturbs them, ``engine.py`` and ``sender.py`` are the two sides of the world with
ledgers of their own, ``judge.py`` compares, ``guards.py`` names what is taken away to see the judge find it.
"""
