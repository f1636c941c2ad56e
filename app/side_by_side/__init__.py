"""The page Side by side: what projecting does to the text."""
