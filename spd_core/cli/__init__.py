"""The one door for the shell."""
