"""The page Home: a model, a capability, and the capture of its gradients."""
