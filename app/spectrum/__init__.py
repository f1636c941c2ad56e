"""The page Spectrum: singular values, nulls, overlap of subspaces, and the gradient rows."""
