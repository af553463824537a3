"""The pure rules of outcomes: prices, exits and statistics, no Django, no clock, no randomness."""
