"""How alike two texts are, letter by letter: OmniOPD's φ. Imports no torch: pages read it."""

MOST_CHARACTERS = 4_000
"""Of a text that is compared: the edit distance takes their product."""


def similarity(own: str, other: str) -> float:
    """φ = 1 − Levenshtein ÷ the longer length, in characters: 1 for equal texts, 0 where nothing is alike."""
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_similarity(own[:MOST_CHARACTERS], other[:MOST_CHARACTERS]))
