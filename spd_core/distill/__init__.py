"""From a corpus of the model's own text to an adapter."""
