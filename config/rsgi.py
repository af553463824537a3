"""The web server's entry: `granian --interface rsgi config.rsgi:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402 - needs the settings

from config.edge import Edge  # noqa: E402

application = Edge(WSGIHandler())
