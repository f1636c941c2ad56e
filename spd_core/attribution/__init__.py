"""Which tokens make a direction, and what the direction does."""
