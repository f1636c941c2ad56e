"""The page Fine-tune: corpora, training, adapters."""
