"""Lets an inference engine write: a client of its protocol, and a vLLM that is started for a checkpoint."""
