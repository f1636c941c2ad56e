"""The page How it works: the method step by step, each step a picture of the capture in hand."""
