"""What an evaluation asks: widgets for its sets."""

from collections.abc import Mapping, Sequence

import streamlit as st

from app.ui.widgets import caption, escaped, failure
from spd_core.data.capability import builtin_names
from spd_core.data.catalog import saved_capabilities
from spd_core.data.public import PUBLIC_SETS
from spd_core.errors import InputError
from spd_core.evaluation.set_facts import SetFacts, set_facts
from spd_core.recipes.sets import EvalSet, answer_length, split_of

LIMIT = 60
_SCORED = {
    "number": "last number of the answer",
    "letter": "option letter",
    "python": "its tests are run",
    "exact": "exact match",
    "nll": "likelihood of the reference",
}


def known_names() -> tuple[str, ...]:
    """Sets that have a name: built in, saved, public."""
    return (*builtin_names(), *saved_capabilities(), *PUBLIC_SETS)


# --- widgets -----------------------------------------------------------------------------------------------------


def pick_sets(base: Sequence[EvalSet], in_domain: str, key: str) -> tuple[EvalSet, ...]:
    """The sets, each with how many items are asked, and a local file where it would come from the hub."""
    st.markdown("##### What is asked")
    before = {eval_set.capability: eval_set for eval_set in base}
    names = st.multiselect(
        "Sets",
        tuple(dict.fromkeys((*known_names(), *before))),
        tuple(before),
        key=f"{key}_sets",
        persist_state="session",
        accept_new_options=True,
        placeholder="Choose, or type the path of a capability file",
        help="Built in, your own (import them on Home), public data sets, the path of a capability file, or "
        "`harness:TASK` for a task of lm-evaluation-harness. Items of the held-out split are asked: nothing is "
        "captured from or trained on those.",
    )
    if not names:
        caption("Choose at least one set.")
    return tuple(_pick_one(name, before.get(name), name == in_domain, f"{key}_set_{name}") for name in names)


def _pick_one(name: str, before: EvalSet | None, in_domain: bool, key: str) -> EvalSet:
    """A row: what it is, how many items, where from."""
    eval_set = before or EvalSet(capability=name, limit=LIMIT)
    left, middle, right = st.columns((5, 2, 4), gap="medium", vertical_alignment="bottom")
    limit = middle.number_input(
        f"Items of {escaped(eval_set.name)}",
        1,
        None,
        eval_set.limit,
        key=f"{key}_limit",
        persist_state="session",
        help="Only the first N; empty takes all.",
        placeholder="all",
    )
    data = eval_set.data
    if name in PUBLIC_SETS:
        data = right.text_input(
            f"Local file of {escaped(name)}",
            data,
            key=f"{key}_data",
            persist_state="session",
            placeholder="from the hub" if PUBLIC_SETS[name].installed is None else "from its package",
            help="A JSONL file with the data set's columns, instead of the hub.",
        )
    elif eval_set.task is not None:
        data = right.text_input(
            f"Folder of tasks for {escaped(name)}",
            data,
            key=f"{key}_data",
            persist_state="session",
            placeholder="the harness' own",
            help="A folder with tasks of your own as YAML. Python that they name is run.",
        )
    data = (data or "").strip()
    eval_set = eval_set.model_copy(
        update={"limit": int(limit) if limit else None, "data": data, "split": split_of(name, data, eval_set.split)}
    )
    with left:
        _describe(eval_set, in_domain)
    return eval_set


def _describe(eval_set: EvalSet, in_domain: bool) -> None:
    domain = ":blue-badge[in-domain]" if in_domain else ":gray-badge[out-of-domain]"
    try:
        facts = set_facts(eval_set)
    except InputError:  # said below, once
        st.markdown(f"**{escaped(eval_set.name)}** {domain}")
        return
    if eval_set.task is not None:
        st.markdown(
            f"**{escaped(eval_set.name)}** {domain}  \n:small[task of lm-evaluation-harness, scored by its own rules]"
        )
        return
    size = "from the hub when it runs"
    if facts.whole is not None and facts.items is not None:
        each = f", {eval_set.samples} answers each" * (eval_set.samples > 1)
        size = f"{facts.items // eval_set.samples} of {facts.whole} items{each}"
    split = "held-out" if eval_set.split == "heldout" else eval_set.split
    st.markdown(
        f"**{escaped(eval_set.name)}** {domain}  \n:small[{size}, {split} · scored by: {_SCORED[facts.scorer]}]"
    )


def pick_lengths(sets: Sequence[EvalSet], facts: Mapping[str, SetFacts], key: str) -> tuple[EvalSet, ...]:
    """The sets with the longest answer of each, three in a row."""
    chosen = []
    for at, eval_set in enumerate(sets):
        if at % 3 == 0:
            columns = st.columns(3, gap="medium", vertical_alignment="bottom")
        if eval_set.task is not None:  # it says itself how long answers may be
            chosen.append(eval_set)
            continue
        known = facts.get(eval_set.name)
        usual = "" if known is None else str(answer_length(EvalSet(capability=eval_set.capability), known.scorer))
        most = columns[at % 3].number_input(
            f"Max new tokens, {escaped(eval_set.name)}",
            1,
            None,
            eval_set.max_new_tokens,
            placeholder=usual or "usual",
            key=f"{key}_set_{eval_set.capability}_tokens",
            persist_state="session",
            help="Empty takes what its scorer needs.",
        )
        chosen.append(eval_set.model_copy(update={"max_new_tokens": int(most) if most else None}))
    return tuple(chosen)


def read_facts(sets: Sequence[EvalSet]) -> dict[str, SetFacts]:
    """What is known of each set, by its name; what is wrong with one is said on the page, and that one left out."""
    facts = {}
    for eval_set in sets:
        try:
            facts[eval_set.name] = set_facts(eval_set)
        except InputError as error:
            failure(f"The set {escaped(eval_set.name)} cannot be read:", str(error))
    return facts
