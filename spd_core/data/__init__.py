"""Which examples: capabilities, where in them correctness is decided, public data sets, files of one's own."""
