"""Decides from text whether a completion is right: reads the answer out of it and compares it with the reference.

It runs no model and no code, and knows nothing of likelihoods or statistics. Not read: decimal commas (1.234,5), Indian
grouping (1,23,456), words (seventy, 2 million), powers (3 × 10^5).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias
from unicodedata import normalize, numeric

from spd_core.data.capability import CONTINUED, Example, Scorer, Settings
from spd_core.errors import InputError
from spd_core.evaluation.extract_code import code_after, code_in, parsed
from spd_core.evaluation.rewritten import Rewritten
from spd_core.sandbox.run import Verdict

NUMBER_TOLERANCE = Decimal("1e-4")
MARK = "####"  # stands before the final number in GSM8K's own answers
_TURN_ENDS = r"<\|(?:im_start|im_end|endoftext|end_of_text|eot_id|end|user)\|>|(?:</s>|<end_of_turn>|<eos>)[ \t]*$"


Stretch: TypeAlias = tuple[int, int]  # the first character and the one after the last
Runner: TypeAlias = Callable[[str, Sequence[str], str, str], Verdict]  # of code, tests, setup, reference


@dataclass(frozen=True)
class Score:
    """How a completion was read, and whether it is right.

    Attributes:
        extracted: the answer as it was read out of the completion; None when there is none (a format failure).
        early: whether it would be right had the model stopped after the first line that holds an answer. Differs from
            `correct` for numbers alone. Where the reference marks its answer with `####`, the first marked line counts.
        ended: the model ended by itself, or began a question of its own.
        reason: why code failed.
    """

    extracted: str | None
    correct: bool
    early: bool
    ended: bool
    reason: str = ""


def score(example: Example, settings: Settings, completion: str, finish: str, run: Runner) -> Score:
    """Whether a completion is right under the capability's scorer; `finish` is why the model stopped, e.g. `eos`.

    `number`: the last number equals the reference's within 1e-4. `letter`: the first line that names one option.
    `exact`: the first line, normalised. `python`: the code passes the example's tests; what does not parse is not run.

    Raises:
        InputError: the capability is scored by likelihood (`nll`), which has no right or wrong.
    """
    text = answer_part(completion, settings)
    ended = finish == "eos" or len(text) < len(completion)
    if settings.scorer == "number":
        return _number_score(example.answer, text, ended)
    if settings.scorer == "python":
        return _code_score(example, settings, text, ended, run)
    if settings.scorer == "letter":
        found, gold = first_letter(text, option_letters(example)), _gold_letter(example.answer)
    elif settings.scorer == "exact":
        found, gold = normalised(text) or None, normalised(example.answer)
    else:
        raise InputError(f"{settings.capability} is scored by likelihood; use reference_nll")
    correct = found is not None and found == gold
    return Score(found, correct, correct, ended)


def answer_part(completion: str, settings: Settings) -> str:
    """The completion up to where the model ends its turn in so many words, or begins a question of its own."""
    return completion[: answer_end(completion, settings.template)]


def answer_end(completion: str, template: str) -> int:
    """How many characters that part has; nothing is read after it."""
    opening = template.split("{prompt}")[0].strip()
    openings = {words for words in (opening, opening.rpartition("\n")[2]) if re.search(r"[^\W\d]", words)}  # not "1."
    # The last part: no word goes on where the opening ends, lest "Q" end an answer at "Quite".
    ends = [_TURN_ENDS, *(rf"(?<=\n)(?:#+ ?|\*\*| )?{re.escape(words)}(?:(?<!\w)|(?!\w))" for words in openings)]
    for found in re.finditer("|".join(ends), completion, re.MULTILINE):
        if completion[: found.start()].strip() or found.group().startswith("<"):  # else it is the question repeated
            return found.start()
    return len(completion)


def scorer_fits(settings: Settings, examples: Sequence[Example]) -> list[str]:
    """Ids of the examples that the scorer cannot judge: to be left out, and told.

    Raises:
        InputError: it can judge none of them, or there is none.
    """
    needs = {
        "number": "a number in the answer; use the scorer exact, or write the answers as digits",
        "letter": "an option letter from A to J as the answer; use the scorer exact, or write the answers as letters",
        "python": 'tests; add assertions as "tests" to the examples, or use the scorer nll',
    }
    unfit = [example.id for example in examples if not _fits(settings.scorer, example)]
    if len(unfit) == len(examples):
        needed = needs.get(settings.scorer, "an answer that is not blank; fill in the answers")
        first = f" (the answer of the first is {examples[0].answer[:40]!r})" if examples else ""
        fits = f"the scorer {settings.scorer} fits none of its {len(examples)} examples{first}"
        raise InputError(f"{settings.capability}: {fits}: it needs {needed}")
    return unfit


def _fits(scorer: Scorer, example: Example) -> bool:
    if scorer == "number":
        return last_number(example.answer.rpartition(MARK)[2]) is not None
    if scorer == "letter":
        return _gold_letter(example.answer) is not None
    return any(map(str.strip, example.tests)) if scorer == "python" else bool(example.answer.strip())


# --- numbers -------------------------------------------------------------------------------------------------
_CURRENCY = "$€£¥₹"
# A minus is a sign unless it can subtract: 5-3, 10–12, (2)-3, 10€-12€. "5 - 3" has none: a sign touches its number.
_SIGN = rf"(?P<sign>(?<![\w)\]}}%°–−-])(?<!\d[{_CURRENCY}])[-−–](?:\\?[{_CURRENCY}]\s?)?)?"
_THOUSANDS = r"(?!0)\d{1,3}(?:[,\u00a0\u2009\u202f]\d{3})+(?!\d)"  # "1,2,3" is a list
_CLOCK = r"(?<![\d:.,])(?P<hours>[01]?[0-9]|2[0-3]):(?P<minutes>[0-5][0-9])(?![\d:])"  # one number: 3:30 is not 30
_PLAIN = rf"(?:{_THOUSANDS}|\d+)(?:\.\d+)?(?:[eE][-+]?\d{{1,3}}(?![^\W_]))?|(?<![\w.])\.\d+"  # not the ".5" of "No.5"
_NUMBER = re.compile(rf"{_SIGN}(?:{_CLOCK}|(?P<plain>{_PLAIN}))")
_RATIO = r"(?:(?P<whole>\d+)[ \u00a0])?(?P<over>\d+) ?[/\u2044] ?(?P<under>0*[1-9]\d*)(?![\d/])"
_FRACTION = re.compile(rf"{_SIGN}(?<![\d/.,]){_RATIO}")


def last_number(text: str, fractions: bool = False) -> Decimal | None:
    """The last number in a text, exactly; None without one.

    It counts whatever the sentence says: "18, because 2 + 16" is 16. Currencies, `%` and units are passed over. A slash
    divides (3/4, 1 1/2) only with `fractions`, or where a line holds nothing else: elsewhere it is as often a step of a
    calculation, and the last number is the one after it.
    """
    found = find_number(text, fractions)
    return None if found is None else found[0]


def find_number(text: str, fractions: bool = False) -> tuple[Decimal, Stretch] | None:
    """The same, and where it stands in the text."""
    notation = _one_notation(Rewritten.of(text))
    end = len(notation.text)
    for line in reversed(notation.text.splitlines(keepends=True)):
        end -= len(line)
        *_, found = [None, *_NUMBER.finditer(line)]
        *_, ratio = [None, *_FRACTION.finditer(line)]
        if found is None:
            continue
        if ratio and ratio.end() == found.end() and (fractions or not re.search(r"\w", _FRACTION.sub("", line))):
            whole, over, under = (Decimal(ratio[part] or 0) for part in ("whole", "over", "under"))
            found, value = ratio, whole + over / under
        elif found["plain"] is None:
            value = Decimal(found["hours"]) + Decimal(found["minutes"]) / 60
        else:
            value = Decimal(re.sub(r"[,\s]", "", found["plain"]))
        value = value.copy_negate() if found["sign"] else value  # `-value` would round to 28 digits
        return value, notation.place(end + found.start(), end + found.end())
    return None


def _one_notation(text: Rewritten) -> Rewritten:
    r"""The text with 1½ as 1.5, \frac{1}{2} as 1/2, 1{,}000 as 1,000, and without exponents of units (cm^2)."""
    text = text.sub(r"([0-9]{0,9})[ \u00a0]?([¼-¾⅐-⅞])", lambda m: f"{int(m[1] or 0) + numeric(m[2]):.9f}")
    text = text.sub(r"\{,\}", ",").sub(r"\\[dt]?frac\{([0-9]+)\}\{([0-9]+)\}", r" \1/\2")
    return text.sub(r"(?<=[A-Za-z}])\^\{?[0-9]+\}?", "")


def written_as_fraction(reference: str) -> bool:
    """Whether the reference's final number is a ratio: then a slash divides in answers, too."""
    return _FRACTION.search(reference.rpartition(MARK)[2]) is not None


def _number_score(reference: str, text: str, ended: bool) -> Score:
    final = reference.rpartition(MARK)[2]
    fractions = written_as_fraction(reference)
    lines = [line for line in text.splitlines() if last_number(line) is not None]
    first = next((line for line in lines if MARK in line and MARK in reference), lines[0] if lines else "")
    gold, found, early = (last_number(part, fractions) for part in (final, text, first))
    right = [gold is not None and n is not None and abs(n - gold) <= NUMBER_TOLERANCE for n in (found, early)]
    return Score(None if found is None else str(found), right[0], right[1], ended)


# --- letters and fixed answers -------------------------------------------------------------------------------
_LETTERS = "ABCDEFGHIJ"
_OPTION = r"\(?\b[LETTERS]\b\)?"
_PASSED_OVER = (
    rf"{_OPTION}(?:,\s*{_OPTION})*,?\s*(?:\b(?:or|and)\b|[&/])\s*{_OPTION}"  # A or B
    rf"|(?i:\b(?:not|nor|neither|than|except|instead of)|n['\u2019]t)\s+(?i:(?:option|answer|choice)\s+)?{_OPTION}"
    rf"|{_OPTION}\s+(?:is|was)(?:n['\u2019]t|\s+(?:not|wrong|incorrect|false))\b"
)
_WHOLE_LINE = r"[\s(\[{*_\"'`$-]*(?i:([LETTERS]))[\s)\]}*_\"'`$.,:;!]*"
# Not in a word, D'oh, A-level, 20 °C, A.M., C++.
_ALONE = r"(?<![^\W_])(?<![^\W_]['\u2019-])(?<!°)(?<![A-Z]\.)([LETTERS])(?![^\W_]|['\u2019-][^\W_]|[+#]|\.[A-Z]\b)"
_CONCLUDED = (
    r"(?:\\boxed\{(?:\\\w+\{)?|(?i:\b(?:answer|option|choice)\b(?:\s+(?:is|was|would be|should be|must be))?))"
    rf"[\s:=*_(\[\"'“]*(?i:(?:option|choice)\s+)?[*_(\[\"'“]*{_ALONE}"
)
_NO_WORD = rf"{_ALONE}(?!(?<=[AI])\s(?!(?:is|isn|because|since|as)\b)[a-z])"  # not "A good one", "I think"


def option_letters(example: Example) -> str:
    """The letters that an example offers, from `A` to at most `J`: those of its prompt, four where it lists none."""
    of_lines, anywhere = (re.findall(rf"{at}([A-J])[.):]", example.prompt) for at in (r"(?m)^\W*", r"(?<![^\W_])"))
    listed = of_lines if len(of_lines) > 1 else anywhere  # "E. coli" is no option
    count = next((at for at, letter in enumerate(_LETTERS) if letter not in listed), len(_LETTERS))
    return _LETTERS[: max(count if count > 1 else 4, _LETTERS.find(_gold_letter(example.answer) or "A") + 1)]


def _gold_letter(reference: str) -> str | None:
    """`B`, `(B)`, `b` and `B. Rome` are references to B; words are not."""
    found = re.fullmatch(r"[(\[]?([A-J])(?:[)\].:].*)?|\(?([a-j])\)?", reference.strip(), re.DOTALL)
    return (found[1] or found[2]).upper() if found else None


def first_letter(text: str, letters: str = "ABCD") -> str | None:
    """The option that the first line naming a single one names; None when no line does.

    "The answer is B", "option B" or a box count before a letter that merely stands alone. Passed over: letters joined
    ("A or B") or ruled out ("not A"), English `A` and `I` (a small letter follows), small letters within a line.
    """
    found = find_letter(text, letters)
    return None if found is None else found[0]


def find_letter(text: str, letters: str = "ABCD") -> tuple[str, Stretch] | None:
    """The same, and where it stands in the text."""
    patterns = (_PASSED_OVER, _WHOLE_LINE, _CONCLUDED, _NO_WORD)
    passed_over, whole, concluded, alone = (pattern.replace("LETTERS", letters) for pattern in patterns)
    start = 0
    for line, with_end in zip(text.splitlines(), text.splitlines(keepends=True), strict=True):
        full, rest = Rewritten.of(line, start), Rewritten.of(line, start).sub(passed_over, " ")
        for source, found in (
            (full, re.fullmatch(whole, line)),
            (rest, re.search(concluded, rest.text)),
            (rest, re.search(alone, rest.text)),
        ):
            if found:
                return found[1].upper(), source.place(*found.span(1))
        start += len(with_end)
    return None


def normalised(text: str) -> str:
    """The first line that is not empty: NFKC, lower case, without "the answer is", outer brackets and punctuation."""
    lines = [line for line in normalize("NFKC", text).splitlines() if line.strip()]
    line = re.sub(r"\s+", " ", lines[0].casefold()).strip() if lines else ""
    bare = re.sub(r"^\W*(?:(?:so|thus|therefore),? )?(?:the )?(?:correct |final )?answer(?: is:?|:) ?(?=.)", "", line)
    outer = r"\s,:;!\"'“”\u2018\u2019()\[\]*_`"
    return re.sub(rf"^(?:[{outer}]|\.(?!\d))+|[{outer}.]+$", "", bare) or line  # [] is not ()


# --- code ----------------------------------------------------------------------------------------------------


def _code_score(example: Example, settings: Settings, text: str, ended: bool, run: Runner) -> Score:
    goes_on = settings.template == CONTINUED
    code = code_after(example.prompt, text) if goes_on else code_in(text, example.tests)
    if isinstance(error := parsed(code), SyntaxError):
        return Score(None, False, False, ended, f"no code: {error}")
    verdict = run(code, example.tests, example.setup, example.answer)
    read = code.removeprefix(example.prompt) if goes_on else code  # what it wrote of it
    return Score(read, verdict.passed, verdict.passed, ended, verdict.reason)
