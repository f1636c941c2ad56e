"""Tells a comparison to people and other tools: sentences, HTML of its texts, Python that reproduces it.

What a model wrote is always shown literally: escaped, and without characters that act on what surrounds them.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from spd_core.generation.comparison import Comparison, LaneText
from spd_core.generation.differences import Piece, degeneration, first_divergence, word_diff
from spd_core.models.packaged import full_name
from spd_core.recipes.gains import gains_in_words
from spd_core.recipes.lanes import LaneSpec, Sampling
from spd_core.templates import render
from spd_core.text import signed

FINISH = {"eos": "stopped at end of text", "length": "reached the limit", "stopped": "stopped"}
SHARED = (
    "Shared randomness: all lanes draw with the same random numbers, so their texts differ only where their "
    "probabilities differ enough. One text is still one draw: with another seed they can differ elsewhere, or not."
)


# --- sentences -----------------------------------------------------------------------------------------------


def projection_sentence(lane: LaneText, comparison: Comparison) -> str:
    """What is projected in a lane: kinds, layers, rank, strength, and which tokens; and in which model."""
    spec, model = lane.spec, _tuned(lane) or "the untouched model"
    if not spec.projects or not lane.ranks or (spec.strength == 0 and not spec.gains):
        return f"nothing is projected: {model}"
    if spec.gains:
        return f"{_mixed(lane)}, {_at_tokens(lane, comparison)}{f'; in {model}' if lane.adapter else ''}"
    low, high = min(lane.ranks.values()), max(lane.ranks.values())
    rank = f"{low}" if low == high else f"{low} to {high}"
    directions = f"{rank} of {lane.d_kv} directions of {lane.capability}"
    into = f"out of {directions}, into all the others" if spec.complement else f"into {directions}"
    if spec.of == "random":
        into = f"into {rank} random directions of {lane.d_kv} (seed {spec.seed})"
    capped = f"; fewer at {', '.join(lane.capped)}, which has no more that are not zero" if lane.capped else ""
    return (
        f"{' and '.join(f'{kind}s' for kind in spec.kinds)} of {_layers(lane)} {into}, with strength "
        f"{spec.strength:g}, {_at_tokens(lane, comparison)}{capped}{f'; in {model}' if lane.adapter else ''}"
    )


def _at_tokens(lane: LaneText, comparison: Comparison) -> str:
    return f"at all {comparison.prompt_tokens} prompt tokens and {len(lane.tokens)} generated ones"


def _mixed(lane: LaneText) -> str:
    """The gains in words, and what happens to the other sites."""
    spec = lane.spec
    whose = f"random directions (seed {spec.seed})" if spec.of == "random" else f"directions of {lane.capability}"
    mix = f"{whose} multiplied: {gains_in_words(spec.gains)}"
    if spec.mixed:
        return f"{mix}; everything else as it is"
    into = "out of" if spec.complement else "into"
    return f"{mix}; all other sites projected {into} rank {spec.rank}, with strength {spec.strength:g}"


def _tuned(lane: LaneText) -> str:
    """The fine-tuned model of a lane in words; empty when it is the untouched one."""
    if lane.adapter is None:
        return ""
    run, _, arm = lane.adapter.ref.partition("/")
    return (
        f"the model fine-tuned on its own text, {lane.adapter.name} (arm {arm} of run {run}, adapter "
        f"{lane.adapter.fingerprint[:12]} on {full_name(lane.adapter.base, lane.adapter.revision)})"
    )


def _layers(lane: LaneText) -> str:
    layers = sorted({int(site.split()[1]) for site in lane.ranks})
    return f"layer{'s' * (len(layers) > 1)} {', '.join(map(str, layers))}"


def noise_sentence(sampling: Sampling) -> str:
    """One sentence on chance."""
    if sampling.greedy:
        return "Greedy: each lane takes its most probable token, so nothing is drawn."
    return (
        SHARED if sampling.shared_randomness else "Every lane draws its own random numbers: a difference can be chance."
    )


def sampling_line(sampling: Sampling) -> str:
    """Sampling settings in one line."""
    noise = "" if sampling.greedy or sampling.shared_randomness else ", noise of each lane its own"
    top_k = f", top-k {sampling.top_k}" if sampling.top_k else ""
    drawn = "greedy" if sampling.greedy else f"temperature {sampling.temperature:g}, top-p {sampling.top_p:g}{top_k}"
    return f"{drawn}, seed {sampling.seed}, at most {sampling.max_new_tokens} tokens{noise}"


def degenerate_reason(lane: LaneText) -> str:
    """Why a lane's text counts as degenerate; empty when it does not, or when it was stopped before its first word."""
    if lane.finish == "stopped" and not lane.text.strip():
        return ""
    return degeneration(lane.ids, lane.text)


def first_difference(lane: LaneText, comparison: Comparison) -> int | None:
    """Index of the first token that differs from the first lane's (for the first lane: from the second's)."""
    return first_divergence(lane.ids, _reference(lane, comparison).ids)


def divergence_sentence(lane: LaneText, comparison: Comparison) -> str:
    """Where a lane differs from the one it is compared with, in words."""
    other, at = _reference(lane, comparison), first_difference(lane, comparison)
    if other is lane:
        return ""
    if at is None:
        return f"the same tokens as {other.label}"
    forks = [one.tokens[at].text for one in (lane, other) if at < len(one.tokens)]
    unseen = " (in white space)" if len(forks) == 2 and not "".join(forks).strip() else ""
    return f"differs from {other.label} at token {at + 1}{unseen}"


def origin_line(comparison: Comparison) -> str:
    """What made a comparison, in one line."""
    facts = (
        f"{full_name(comparison.model, comparison.revision)}, {comparison.dtype} on {comparison.device}",
        f"{comparison.capability} ({comparison.fingerprint[:12]}), {comparison.loss} loss",
        f"capture {comparison.analysis}",
        sampling_line(comparison.sampling),
        f"written {comparison.created.replace('T', ' ')} in {comparison.seconds:.1f} s, "
        f"read in {comparison.reading_seconds:.1f} s",
    )
    return " · ".join(facts)


def _reference(lane: LaneText, comparison: Comparison) -> LaneText:
    first, *rest = comparison.lanes
    return rest[0] if lane is first and rest else first


def lane_numbers(lane: LaneText, comparison: Comparison) -> str:
    """How a lane ended, its length and its means."""
    parts = [f"{FINISH[lane.finish]} · {len(lane.tokens)} token{'s' * (len(lane.tokens) != 1)}"]
    if lane.tokens:
        parts.append(f"mean log-probability {signed(lane.mean_logprob)} nats")
    if lane.other is not None and lane.tokens:
        parts.append(f"mean KL to {_reference(lane, comparison).label} {lane.mean_kl:.3f} nats")
    return " · ".join(parts)


# --- HTML ----------------------------------------------------------------------------------------------------

Mark: TypeAlias = Literal["", "same", "changed", "new"]
TextPart: TypeAlias = tuple[str | None, Mark]
"""A part of a text and how it is marked: the `same` tokens before the first divergence, `changed` words after it, or a
text that is `new` from there on. None is the marker of the divergence."""
_FEW_WORDS = 6


def diff_parts(pieces: Iterable[Piece], fork: int | None, changed: Mark = "changed") -> list[TextPart]:
    """A text in parts as the template `text.html` takes them, a marker before the character `fork` if there is one.

    Args:
        changed: how changed words are marked; before `fork` none are, since the tokens are the same.
    """
    found, at = list(pieces), 0
    before = "" if fork is None else "".join(piece.text for piece in found)[:fork]
    parts: list[TextPart] = [(before, "same")] if before else []
    parts += [] if fork is None else [(None, "")]
    for piece in found:
        after = piece.text[max(len(before) - at, 0) :]
        parts += [(after, changed if piece.changed and after.strip() else "")] if after else []
        at += len(piece.text)
    return parts


def lane_parts(lane: LaneText, comparison: Comparison) -> list[TextPart]:
    """A lane's text beside the first lane's: what is the same, the first divergence, and the words that differ.

    Where they share few of their words after that, all of it is new: word for word nearly all would be marked.
    """
    other = _reference(lane, comparison)
    at = first_difference(lane, comparison)
    fork = None if at is None else len("".join(token.text for token in lane.tokens[:at]))
    pieces = word_diff(lane.text, other.text)[0]
    if _tells(pieces, fork or 0):
        return diff_parts(pieces, fork)
    return diff_parts([Piece(lane.text, True)], fork, "new")


def _tells(pieces: Iterable[Piece], fork: int) -> bool:
    """Whether at least half of a text's words after a character are unchanged, or any of few."""
    after, changed, at = 0, 0, 0
    for piece in pieces:
        words = len(piece.text[max(fork - at, 0) :].split())
        after, changed, at = after + words, changed + words * piece.changed, at + len(piece.text)
    return changed < after < _FEW_WORDS or 2 * changed <= after


def diff_html(pieces: Iterable[Piece], fork: int | None) -> str:
    """A text as escaped HTML: changed words in `<ins>`, a marker before the character `fork` if there is one."""
    return render("diff.html", parts=diff_parts(pieces, fork))


def lane_html(lane: LaneText, comparison: Comparison) -> str:
    """`lane_parts` as escaped HTML."""
    return render("diff.html", parts=lane_parts(lane, comparison))


# --- Python --------------------------------------------------------------------------------------------------


def to_python(comparison: Comparison) -> str:
    """A program that writes the same texts with spd_core (on the same kind of machine)."""
    names = dict.fromkeys([comparison.analysis, *(lane.spec.capture for lane in comparison.lanes if lane.spec.capture)])
    pinned = comparison.revision if comparison.model.count("/") == 1 and ":" not in comparison.revision else None
    lanes = "".join(f"    {_lane_code(lane.spec, lane.label, comparison.analysis)},\n" for lane in comparison.lanes)
    captures = "".join(f"        {name!r}: open_capture({name!r}),\n" for name in names)
    tuned = dict.fromkeys(lane.spec.adapter for lane in comparison.lanes if lane.spec.adapter)
    adapters = "".join(f"        {ref!r}: load_adapter(adapter_folder({ref!r})),\n" for ref in tuned)
    return (
        '"""Writes the texts of a comparison again."""\n\nimport os\n\n'
        'os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: idle threads rest\n\n'
        f"from spd_core import {', '.join(_uses(comparison))}\nfrom spd_core.errors import SpdError\n\ntry:\n"
        f"    captures = {{\n{captures}    }}\n"
        + f"    adapters = {{\n{adapters}    }}\n"
        * bool(tuned)
        + f"    lm = load({comparison.model!r}, {pinned!r}, {comparison.dtype!r})\n"
        "except SpdError as error:\n"
        '    where = os.environ.get("SPD_HOME", "~/.spd-lab")\n'
        '    raise SystemExit(f"{error}. It was looked for below {where}; set SPD_HOME to where it is.") from None\n\n'
        f"lm = load({comparison.model!r}, {pinned!r}, {comparison.dtype!r})\n"
        f"lanes = [\n{lanes}]\n"
        f"prompt = {comparison.read!r}\n"
        f"sampling = {comparison.sampling!r}\n"
        "for start in range(0, len(lanes), ROWS):\n"
        "    for completion in generate(\n"
        "        lm, [prompt], lanes[start : start + ROWS], sampling,\n"
        f"        special_tokens={comparison.special_tokens}, first_lane=start,\n"
        "    ):\n"
        '        print(f"--- {completion.lane.name}\\n{completion.text}")\n'
    )


def _uses(comparison: Comparison) -> list[str]:
    """Names of the public face that the program needs."""
    tuned = any(lane.spec.adapter for lane in comparison.lanes)
    wanted = {
        "SiteGains": any(lane.spec.gains for lane in comparison.lanes),
        "adapter_folder": tuned,
        "load_adapter": tuned,
        "random_subspace": any(lane.spec.of == "random" for lane in comparison.lanes),
        "subspace_of": any(lane.spec.projects for lane in comparison.lanes),
    }
    always = ("ROWS", "Lane", "Sampling", "generate", "load", "open_capture")
    return sorted((*always, *(name for name, used in wanted.items() if used)))


def _lane_code(spec: LaneSpec, label: str, analysis: str) -> str:
    adapter = f", adapter=adapters[{spec.adapter!r}]" if spec.adapter else ""
    if not spec.projects:
        return f"Lane(name={label!r}{adapter})"
    whole = ", per_head=False" if spec.gains else ""  # as `subspace_for`
    subspace = f"subspace_of(captures[{spec.capture or analysis!r}], {spec.rank!r}{whole})"
    if spec.of == "random":
        subspace = f"random_subspace({subspace}, {spec.seed})"
    gains = f", gains={spec.gains!r}" if spec.gains else ""
    options = f"strength={spec.strength!r}, kinds={spec.kinds!r}, layers={spec.layers!r}{gains}"
    return f"Lane({subspace}, {options}, complement={spec.complement}, name={label!r}{adapter})"
