"""PURE: reading an alert. Nothing in this package knows Django, a clock or a database."""
