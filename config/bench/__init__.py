"""Measuring: each figure is a ratio to the least that could do the same, on the same server, in the same run."""
