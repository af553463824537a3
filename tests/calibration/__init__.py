"""Does the comparison keep its promises? Simulated engines without a difference, and with one, looked at every day."""
