"""Studies: several evaluations that were planned together, with the comparisons that were announced before."""
