"""Which tokens decide: the exact tokens of every rule, for tokenizers of four kinds, written down by hand."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spd_core.data.capability import INSTRUCTION, Example, RangeSpans, RegexSpans, Settings
from spd_core.data.spans import NUMBER, Encoded, char_spans, encode, encode_all, generation_prompt, render_prompt
from spd_core.errors import InputError
from tests import tiny

KINDS: dict[str, Callable[[], Any]] = {
    "byte": tiny.byte_tokenizer,
    "merging": tiny.merging_tokenizer,
    "metaspace": tiny.metaspace_tokenizer,
    "wordpiece": tiny.wordpiece_tokenizer,
}
QA = Settings(capability="qa")
CODE = Settings(capability="code", template=INSTRUCTION, spans="tests")
TEST = "assert add(1, 2) == 3"


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return {name: make() for name, make in KINDS.items()}


def selected(result: Encoded | str) -> list[str]:
    """The supervised tokens as text, white space included."""
    assert isinstance(result, Encoded), result
    return [result.text[slice(*result.offsets[t])] for t in result.supervised]


def pattern(regex: str, part: str = "answer") -> RegexSpans:
    return RegexSpans.model_validate({"regex": regex, "in": part})


# --- the rules, token by token -------------------------------------------------------------------------------

NUMBERS = "18 apples, 5 more: 23 apples"
# example → the tokens that each kind of tokenizer gives for its span
RULES: dict[str, tuple[Example, dict[str, list[str]]]] = {
    "answer": (
        Example(prompt="How many apples does he have?", answer="23"),
        {"byte": [" ", "2", "3"], "merging": [" 23"], "metaspace": [" ", "2", "3"], "wordpiece": ["23"]},
    ),
    "a letter": (
        Example(prompt="What is the capital?\nA. Rome\nB. Paris", answer="B"),
        {"byte": [" ", "B"], "merging": [" B"], "metaspace": [" B"], "wordpiece": ["B"]},
    ),
    "number": (
        Example(prompt="How many apples?", answer=NUMBERS, spans="number"),
        {"byte": ["2", "3"], "merging": [" 23"], "metaspace": ["2", "3"], "wordpiece": ["23"]},
    ),
    "after": (
        Example(prompt="How many apples?", answer="#### 5 #### 18", spans="after:#### "),
        {"byte": ["1", "8"], "merging": [" 18"], "metaspace": ["1", "8"], "wordpiece": ["18"]},
    ),
    "regex, its group": (
        Example(prompt="How many apples?", answer="the answer is 990", spans=pattern(r"is (\d+)")),
        {"byte": ["9", "9", "0"], "merging": [" 990"], "metaspace": ["9", "9", "0"], "wordpiece": ["990"]},
    ),
    "regex, every match, in the prompt": (
        Example(prompt="Tom has 18 apples and buys 5 more.", answer="23", spans=pattern(r"\d+", "prompt")),
        {"byte": ["1", "8", "5"], "merging": [" 18", " 5"], "metaspace": ["1", "8", "5"], "wordpiece": ["18", "5"]},
    ),
    "ranges": (
        Example(prompt="What?", answer="the answer is 990", spans=RangeSpans(ranges=((4, 10), (14, 17)))),
        {
            "byte": [*"answer990"],
            "merging": [" answer", " 990"],
            "metaspace": ["a", "nswer", "9", "9", "0"],  # `▁a`: the span begins after the space
            "wordpiece": ["answer", "990"],
        },
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", RULES)
def test_the_tokens_of_a_rule(tokenizers: dict[str, Any], rule: str, kind: str) -> None:
    example, expected = RULES[rule]
    assert selected(encode(example, QA, tokenizers[kind])) == expected[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", ["raw", "chat"])
def test_the_tests_rule_takes_every_occurrence(tokenizers: dict[str, Any], kind: str, style: Any) -> None:
    other = "assert add(2, 1) == 3"
    prompt = f"Write a function.\nYour code should pass these tests:\n{TEST}\n{other}"
    example = Example(prompt=prompt, answer=f"def add(a, b)\n{TEST}", tests=(TEST, other))
    found = selected(encode(example, CODE, tokenizers[kind], style))
    ink = "".join(found).replace(" ", "")
    assert ink == (TEST + other + TEST).replace(" ", "")  # the prompt's two and the answer's one, nothing else


@pytest.mark.parametrize("kind", KINDS)
def test_the_chat_answer_is_the_assistants_turn(tokenizers: dict[str, Any], kind: str) -> None:
    encoded = encode(Example(prompt="How many apples?", answer="18 apples"), QA, tokenizers[kind], "chat")
    assert isinstance(encoded, Encoded)
    assert encoded.text == "<user>How many apples?\n<assistant>18 apples"
    assert "".join(selected(encoded)).replace(" ", "") == "18apples"
    assert encoded.offsets[encoded.supervised[0]][0] == encoded.text.index("18")


LOSSES = {
    "aligned": {"byte": [*TEST], "merging": TEST, "wordpiece": TEST},
    "full": {"byte": [*" def add(a, b)"], "merging": " def add(a, b)", "wordpiece": "def add(a, b)"},
    "solution": {"byte": [*"def add(a, b)"], "merging": " def add(a, b)", "wordpiece": "def add(a, b)"},
}


@pytest.mark.parametrize("kind", ["byte", "merging", "wordpiece"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_three_losses_of_code(tokenizers: dict[str, Any], loss: Any, kind: str) -> None:
    example = Example(prompt=f"Write a function.\n{TEST}", answer="def add(a, b)", tests=(TEST,))
    found = selected(encode(example, CODE, tokenizers[kind], loss=loss))
    expected = LOSSES[loss][kind]
    assert found == expected or "".join(found).replace(" ", "") == "".join(expected).replace(" ", "")


def test_the_full_loss_takes_the_whole_answer_whatever_the_rule(tokenizers: dict[str, Any]) -> None:
    example = Example(prompt="How many apples?", answer="He has 18", spans="number")
    assert selected(encode(example, QA, tokenizers["byte"], loss="full")) == [*" He has 18"]


def test_the_solution_loss_is_for_code_with_tests(tokenizers: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="x: the loss solution is for code with tests; use aligned or full"):
        encode(Example(id="x", prompt="2 + 2?", answer="4"), QA, tokenizers["byte"], loss="solution")


# --- characters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("it is 5, or −1,234.50 dollars", "−1,234.50"),
        ("12, I think", "12"),
        ("3 + .5", ".5"),
        ("7.", "7"),
        ("-3%", "-3"),
    ],
)
def test_the_last_number_as_people_write_it(answer: str, number: str, tokenizers: dict[str, Any]) -> None:
    rendered = render_prompt(Example(prompt="x", answer=answer), QA, "raw", None)
    ((start, end),) = char_spans(Example(prompt="x", answer=answer, spans="number"), QA, rendered, "aligned")
    assert rendered.text[start:end] == number
    assert NUMBER.findall(answer)[-1] == number


def test_the_answer_joins_with_one_space_unless_the_template_ends_in_white_space() -> None:
    example = Example(prompt="Q", answer="A")
    assert render_prompt(example, QA, "raw", None).text == "Question: Q\nAnswer: A"
    assert render_prompt(example, Settings(capability="x", template="{prompt}\n"), "raw", None).text == "Q\nA"


@pytest.mark.parametrize("prompt", ["assistant", "user", ">", "<assistant>"])
def test_a_prompt_is_found_in_the_users_turn_and_not_in_the_templates_words(tokenizer: Any, prompt: str) -> None:
    text, at = generation_prompt(prompt, QA, "chat", tokenizer)
    assert (text, at) == (f"<user>{prompt}\n<assistant>", len("<user>"))


def test_chat_needs_a_template_that_keeps_the_prompt() -> None:
    plain, shouting = tiny.byte_tokenizer(), tiny.byte_tokenizer()
    plain.chat_template = None
    shouting.chat_template = "{{ messages[0]['content'] | upper }}"
    for tokenizer, reason in ((plain, "has no chat template"), (shouting, "changes the prompt 'hello'")):
        with pytest.raises(InputError, match=f"{reason}.*prompt format raw"):
            generation_prompt("hello", QA, "chat", tokenizer)


# --- what does not survive -----------------------------------------------------------------------------------


def test_a_span_that_truncation_cuts_is_skipped_with_the_reason(tokenizers: dict[str, Any]) -> None:
    example = Example(prompt="How many apples?", answer="18 apples, 23", spans="number")
    whole = encode(example, QA, tokenizers["byte"])
    assert isinstance(whole, Encoded)
    n = len(whole.ids)
    assert encode(example, QA, tokenizers["byte"], max_tokens=n) == whole
    assert encode(example, QA, tokenizers["byte"], max_tokens=n - 1) == f"the span '23' is cut off at {n - 1} tokens"


def test_the_full_loss_takes_what_is_left_of_a_cut_answer(tokenizers: dict[str, Any]) -> None:
    example = Example(prompt="Q", answer="abcdef")
    cut = encode(example, QA, tokenizers["byte"], loss="full", max_tokens=len("Question: Q\nAnswer: abc"))
    assert selected(cut) == [*" abc"]


@pytest.mark.parametrize("kind", KINDS)
def test_white_space_after_the_answer_is_not_a_cut(tokenizers: dict[str, Any], kind: str) -> None:
    found = selected(encode(Example(prompt="How many apples?", answer="18 \n"), QA, tokenizers[kind]))
    assert "".join(found).strip() == "18"


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ("number", "the span rule finds nothing"),
        ("after:#### ", "the span rule finds nothing"),
        ("tests", "the span rule finds nothing"),
        (pattern("z"), "the span rule finds nothing"),
        (RangeSpans(ranges=((4, 7),)), "no token lies inside the span 'ans'"),  # a piece of one token
    ],
)
def test_a_span_without_a_token_is_skipped_with_the_reason(tokenizers: dict[str, Any], spans: Any, reason: str) -> None:
    example = Example(prompt="What?", answer="the answer", spans=spans)
    assert encode(example, QA, tokenizers["merging"]) == reason


def test_encode_all_lists_what_it_leaves_out(tokenizers: dict[str, Any]) -> None:
    examples = [Example(id=name, prompt="Q", answer=answer) for name, answer in (("a", "1"), ("b", "x"), ("c", "2"))]
    found = encode_all(examples, Settings(capability="qa", spans="number"), tokenizers["byte"])
    assert [example.id for example in found.examples] == ["a", "c"]
    assert found.skipped == {"b": "the span rule finds nothing"}


def test_none_surviving_is_an_error(tokenizers: dict[str, Any]) -> None:
    examples = [Example(id=name, prompt="Q", answer="x", spans="number") for name in "ab"]
    reason = r"no example of qa survives \(2 skipped; the first, a: the span rule finds nothing\)"
    with pytest.raises(InputError, match=reason):
        encode_all(examples, QA, tokenizers["byte"])


def test_token_0_is_never_supervised(tokenizers: dict[str, Any]) -> None:
    bare = Settings(capability="x", template="{prompt}")
    example = Example(prompt="ab", answer="c", spans=RangeSpans.model_validate({"ranges": [[0, 2]], "in": "prompt"}))
    assert selected(encode(example, bare, tokenizers["byte"])) == ["b"]
    only_first = example.model_copy(update={"spans": RangeSpans.model_validate({"ranges": [[0, 1]], "in": "prompt"})})
    assert encode(only_first, bare, tokenizers["byte"]) == "no token lies inside the span 'a'"


# --- whatever the text ---------------------------------------------------------------------------------------

text = st.text(st.characters(codec="utf-8") | st.sampled_from(" \n0123456789abcé,.#"), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), prompt=text, answer=text, data=st.data())
def test_selected_tokens_are_those_that_lie_inside(
    tokenizers: dict[str, Any], kind: str, prompt: str, answer: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(answer) - 1))
    end = data.draw(st.integers(start + 1, len(answer)))
    example = Example(prompt=prompt, answer=answer, spans=RangeSpans(ranges=((start, end),)))
    encoded = encode(example, QA, tokenizers[kind], max_tokens=10_000)
    if isinstance(encoded, str):
        assert encoded.startswith("no token lies inside")
        return
    at = len(f"Question: {prompt}\nAnswer: ")
    assert encoded.text[at:] == answer
    for t, (a, b) in enumerate(encoded.offsets):
        token = encoded.text[a:b]
        begins = a if not token.strip() else b - len(token.lstrip())
        inside = a < b and at + start <= begins and b <= at + end
        assert (t in encoded.supervised) == inside, token
