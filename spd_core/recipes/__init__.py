"""What can be asked for, as settings; imports no torch."""
