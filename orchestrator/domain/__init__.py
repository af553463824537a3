"""The pure rules of the orchestrator: no Django, no clock, no randomness, no network."""
