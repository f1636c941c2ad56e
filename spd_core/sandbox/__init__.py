"""Runs code that nobody has read, sealed off from the machine."""
