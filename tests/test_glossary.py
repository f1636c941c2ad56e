"""The glossary: every term once, in order, found in any of its forms, and marked where it first appears."""

import pytest

from spd_core.glossary import TERMS, Term, marked, meaning


def test_terms_stand_in_the_order_of_the_alphabet_and_no_form_means_two_things() -> None:
    names = [term.name for term in TERMS]
    assert names == sorted(names, key=str.lower)
    forms = [form.lower() for term in TERMS for form in {term.name.lower(), *map(str.lower, term.forms)}]
    assert len(forms) == len(set(forms))


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_definition_is_short_and_ends_as_a_sentence_does(term: Term) -> None:
    said = term.meaning
    assert said.endswith(".")
    assert len(said) <= 150, "read in a tooltip"
    assert said[0].isupper() or said[0] in "σα"


def test_a_term_is_found_in_any_form_and_case() -> None:
    assert meaning("Energy") == meaning("energy")
    assert meaning("nats") == meaning("Nat")
    with pytest.raises(KeyError):
        meaning("perplexity")


def test_the_longest_term_is_marked_once_and_no_part_of_a_word() -> None:
    (pieces,) = marked("A random subspace is no subspace of energy-rich renergy; a random subspace has a rank.")
    assert "".join(text for text, _ in pieces) == (
        "A random subspace is no subspace of energy-rich renergy; a random subspace has a rank."
    )
    assert [text for text, said in pieces if said] == ["random subspace", "subspace", "rank"]


def test_what_one_text_has_told_the_next_does_not_tell_again() -> None:
    first, second = marked("The null.", "The null and its directions.")
    assert [text for text, said in first if said] == ["null"]
    assert [text for text, said in second if said] == ["directions"]
