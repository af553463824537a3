"""An alert becomes one immutable signal. Nothing here knows engines, experiments or trades."""
