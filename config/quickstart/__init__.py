"""`manage.py quickstart`: the whole system on one machine, from nothing, with one command."""
