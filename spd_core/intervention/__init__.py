"""What changes a forward pass: projections, adapters, and both folded into the weights."""
