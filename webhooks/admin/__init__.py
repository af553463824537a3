"""The intake in the admin: signals and what was turned away to look at, sources to set up."""

from webhooks.admin import alerts, sources

__all__ = ["alerts", "sources"]
