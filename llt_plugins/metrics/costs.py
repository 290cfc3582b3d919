"""What the estimates of cost assume."""

TYPICAL_SPLIT = 50_000
"""Size of a training split that ``cost`` counts in, since a description names none."""
