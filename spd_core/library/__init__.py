"""What is kept on this machine, what stands on what, and bundles of it that can be handed on and checked."""
