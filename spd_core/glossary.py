"""What the words of the method mean: the one source of every definition, whether a page, a tooltip or a report says it.

A definition is one or two plain sentences, without a term that stands nowhere else in the list.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Term:
    """A word of the method and what it means.

    Attributes:
        name: as a heading of the glossary.
        meaning: one or two sentences.
        forms: other ways in which texts write it; the name, in lower case, is one by itself.
    """

    name: str
    meaning: str
    forms: tuple[str, ...] = ()


TERMS = (
    Term(
        "95% interval",
        "A range from a rule that catches the true value in 95 of 100 repetitions. Where it holds zero, no difference "
        "is shown.",
        ("95% intervals", "interval", "intervals"),
    ),
    Term(
        "Adapter",
        "The small matrices that a LoRA fine-tune adds to a model; the model itself stays as it was.",
        ("LoRA",),
    ),
    Term(
        "Agreement",
        "How much of a chunk its teacher writes as well: k ÷ N, the mean likeness of its continuations, 0 to 1.",
        ("agrees",),
    ),
    Term("Anchor", "The first token of a chunk: as a rule, where the student's entropy is highest.", ("anchors",)),
    Term(
        "Arm",
        "One way of writing the text that a model is then trained on: SPD's projected text, raw text, or a control.",
        ("arms",),
    ),
    Term(
        "Bootstrap band",
        "Where a spectrum lies when the examples are drawn again and again. Inside it, a difference can be luck.",
    ),
    Term(
        "Capability",
        "Something that has right answers, such as arithmetic: here a set of prompts with their correct answers.",
        ("capabilities",),
    ),
    Term(
        "Capability subspace",
        "The space that a capability's leading directions span. Projecting into it keeps what lies along them and "
        "drops the rest of a key or value.",
        ("subspace", "subspaces"),
    ),
    Term("Causal check", "Removing a direction, or keeping it alone, and measuring what that does to the loss tokens."),
    Term(
        "Chunk",
        "A few tokens of a student's own text, learned as strongly as a teacher says them, too.",
        ("chunks",),
    ),
    Term("Complement", "Everything but the subspace: what projecting would have dropped."),
    Term(
        "Continuation",
        "What a teacher writes on from a place in the student's text, without seeing what the student wrote there.",
        ("continuations",),
    ),
    Term(
        "Contrast",
        "Directions along which the loss on one capability varies much and that on the others varies little.",
    ),
    Term("d_kv", "How many numbers a layer keeps as the key, or as the value, of one token."),
    Term("Degenerate", "A text that is empty, or repeats itself over and over."),
    Term(
        "Direction",
        "A unit vector in the space of a layer's keys or values. Direction 1 is the one along which the loss varies "
        "most; all are orthogonal.",
        ("directions",),
    ),
    Term(
        "Effective rank",
        "Over how many directions a spectrum spreads: 1 where one direction has everything, d_kv where all have alike.",
    ),
    Term(
        "Energy",
        "The squared length of all gradients together. A direction with 20% of the energy holds a fifth of how the "
        "loss varies with keys or values.",
    ),
    Term("Entropy", "How undecided the model is about the next token, in nats: 0 where it is certain."),
    Term(
        "First position",
        "A text's first token. Models park attention on it (an attention sink), so its numbers are often outliers.",
        ("first positions",),
    ),
    Term(
        "Gain",
        "By what a direction's part of a key or value is multiplied: 0 removes it, 1 keeps it, −1 flips it.",
        ("gains",),
    ),
    Term(
        "Gradient",
        "How the loss would change with each number of a token's key or value: one row for each token.",
        ("gradients",),
    ),
    Term("Held-out", "Examples that took no part in the capture or in training."),
    Term("Key", "What a layer keeps of a token so that later tokens can find it by attention.", ("keys",)),
    Term("KL", "How far two distributions of the next token lie apart, in nats: 0 where they are the same."),
    Term("Lane", "One text of a comparison: the same prompt and random numbers, another intervention.", ("lanes",)),
    Term("Log p", "The logarithm of a token's probability, in nats: 0 is certain, −0.69 is 50%, −2.3 is 10%."),
    Term("Logit lens", "The tokens that a direction would make likelier if it were written straight to the output."),
    Term("Loss", "Mean −log p of the loss tokens, in nats: the lower, the surer the model is of the right answer."),
    Term(
        "Loss tokens",
        "The tokens that decide whether an answer is correct; the loss is taken on them alone.",
        ("loss token",),
    ),
    Term("Nat", "The unit of a natural logarithm: a change of 0.69 nats doubles or halves a probability.", ("nats",)),
    Term(
        "Null",
        "The same computation on something that lacks the capability. What the null shows too is no sign of it.",
        ("nulls",),
    ),
    Term(
        "Principal angle",
        "The angle between two subspaces, direction by direction: 0° where they share one, 90° where they are "
        "orthogonal.",
        ("principal angles",),
    ),
    Term("Projected", "Written with keys and values projected into the capability subspace."),
    Term(
        "Projection",
        "Replacing a key or value by its part inside a subspace: K̃ = K + α (K P − K), with the strength α.",
        ("projecting",),
    ),
    Term(
        "Random subspace",
        "A subspace of the same rank that points anywhere. A control: what it does too, the capability did not.",
    ),
    Term("Rank", "How many leading directions the subspace keeps.", ("ranks",)),
    Term("Raw", "The model as it is: nothing is projected."),
    Term(
        "Self-Policy Distillation",
        "SPD: a model writes inside a capability's subspace, and is then fine-tuned on what it wrote itself.",
        ("SPD",),
    ),
    Term("Shuffled answers", "A null: every question with the answer to another one, so that no answer is right."),
    Term(
        "Singular value",
        "σ: how much the gradients vary along a direction; σ² is the direction's energy.",
        ("singular values", "σ"),
    ),
    Term("Site", "The keys, or the values, of one layer: each has a subspace of its own.", ("sites",)),
    Term(
        "Spectrum",
        "The singular values of a site from the largest down. Steep: few directions hold most of the energy.",
        ("spectra",),
    ),
    Term(
        "Strength",
        "α: how far keys and values are moved into the subspace. 0 leaves them alone, 1 is the paper's projection.",
        ("α",),
    ),
    Term("Student", "The model in training, where it learns on text that it writes meanwhile.", ("students",)),
    Term(
        "Target weight",
        "How strongly a chunk is learned: (k + α π̄) ÷ (N + α), agreement and a little of the student's own belief.",
        ("the weight", "mean weight"),
    ),
    Term(
        "Teacher",
        "Who writes beside a student: the untouched model inside the capability subspace, or another one.",
        ("teachers",),
    ),
    Term("Value", "What a layer hands on of a token to the later tokens that attend to it.", ("values",)),
)
"""In the order of the alphabet."""


def meaning(name: str) -> str:
    """The definition of a term, by its name or another of its forms, in any case.

    Raises:
        KeyError: the list has no such term.
    """
    return _by_form()[name.lower()].meaning


def marked(*texts: str) -> list[list[tuple[str, str]]]:
    """Each text in pieces, with what a piece means where a term first appears in any of them; else with `""`."""
    told: set[str] = set()
    return [list(_pieces(text, told)) for text in texts]


def _pieces(text: str, told: set[str]) -> Iterator[tuple[str, str]]:
    start = 0
    for found in _pattern().finditer(text):
        term = _by_form()[found[0].lower()]
        if term.name in told:
            continue
        told.add(term.name)
        yield text[start : found.start()], ""
        yield found[0], term.meaning
        start = found.end()
    yield text[start:], ""


@lru_cache
def _by_form() -> dict[str, Term]:
    return {form.lower(): term for term in TERMS for form in (term.name, *term.forms)}


@lru_cache
def _pattern() -> re.Pattern[str]:
    longest_first = sorted(_by_form(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])", re.IGNORECASE)
