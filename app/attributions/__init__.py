"""The page Token attributions: which tokens make a direction, and what it does."""
