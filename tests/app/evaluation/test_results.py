"""Results of an evaluation without a browser: states of its cells, the explorer's filters, ways to Side by side."""

import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from app.evaluation import cost, item_pairs, next_steps, pair_charts
from app.evaluation.item_pairs import ALL, FALLS, GAINED, LIMIT, LOST, RISES, UNREAD, Pair
from app.side_by_side import opening
from app.side_by_side.lanes import COMPLEMENT, RANDOM
from app.side_by_side.mixing_desk import mixed_lanes
from app.ui import open_tables, session
from spd_core.errors import InputError
from spd_core.evaluation.cells import Cell, cell_path, items_path, read_cell
from spd_core.evaluation.compared import shared_cells
from spd_core.evaluation.statistics import minimum_detectable
from spd_core.evaluation.store import ItemRecord
from spd_core.evaluation.table import read_table
from spd_core.intervention.adapters import Adapter, Delta, save_adapter, saved_adapter
from spd_core.intervention.cards import AdapterCard
from spd_core.recipes.evaluation import NAMED, Subject
from spd_core.recipes.gains import parse_gains
from spd_core.runs import queue, states
from spd_core.runs.folder import Run
from spd_core.runs.record import Status
from spd_core.storage import runs_folder
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.store import open_capture, place_of, recorded_captures, save_capture
from tests.app.evaluation.test_charts import EVIL, REVISION, answered, fill, put, read, recipe
from tests.app.side_by_side.test_page import html_of
from tests.app.test_pages import press, text_of
from tests.waiting import LONG


@pytest.fixture(autouse=True)
def home(tmp_path: Path, spd_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, in which no job is really started."""
    (tmp_path / "models").symlink_to(spd_home / "models")
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(queue, "start_next", lambda: [])
    monkeypatch.setattr(cost, "preparation", lambda *_: SimpleNamespace(result=None))  # no engine in the background
    st.cache_resource.clear()
    return tmp_path


def made(**settings: Any) -> Run:
    run = queue.create(recipe(**settings), f"title {EVIL}")
    run.write_status(Status(state="running", since=time.time()))
    return run


def script(name: str, live: bool = False) -> None:
    import streamlit as st

    from app.ui import session

    def page() -> None:
        from app.evaluation.results import draw_results_verdict, panel
        from spd_core.runs.folder import open_run

        if not live:
            draw_results_verdict(open_run(name))
        panel(open_run(name), lambda asked: st.session_state.update({"proposed": asked}), live)

    st.navigation([st.Page(page, default=True), st.Page(session.SIDE_BY_SIDE, url_path="side-by-side")]).run()


def opened(run: Run, part: str = "", live: bool = False, **state: Any) -> AppTest:
    at = AppTest.from_function(script, kwargs={"name": run.id, "live": live}, default_timeout=LONG)
    if part:
        at.query_params[session.RESULTS_PART] = part
    for key, value in state.items():
        at.session_state[key] = value
    at.run()
    assert not at.exception
    return at


# --- the panel ---------------------------------------------------------------------------------------------------


def test_without_a_cell_it_says_what_will_be_there() -> None:
    at = opened(made())
    assert "a card for each comparison" in text_of(at)
    assert not at.get("segmented_control")


@pytest.mark.parametrize(("once", "now"), [("Table", "Scores"), ("Differences", "Claims"), ("Scores", "Scores")])
def test_links_of_earlier_versions_land_on_what_they_meant(once: str, now: str) -> None:
    run = made()
    put(run.folder, "base", "arithmetic", answered(10))
    at = opened(run, once)
    assert at.session_state[session.RESULTS_PART] == now
    assert ("a dot is a score" in text_of(at)) == (now == "Scores")


def test_half_filled_every_part_says_what_is_missing() -> None:
    run = made()
    put(run.folder, "base", "arithmetic", answered(10))
    says = {"Claims": "A card for each comparison appears here", "Scores": "1 of 12 cells are filled so far",
            "Map": "appear here when", "Items": "Item **1** of 40", "Answers": "How to read this"}  # fmt: skip
    for part, words in says.items():
        shown = text_of(opened(run, part))
        assert words in shown, part
    assert f"table --run {run.id}" in opened(run, "Export").code[0].value


@pytest.mark.parametrize("part", ["Claims", "Scores", "Map", "Items", "Answers", "Export"])
def test_full_with_hostile_titles(part: str) -> None:
    run = made()
    fill(run.folder, title=f"Sums {EVIL}")
    at = opened(run, part)
    assert "<img" not in html_of(at)
    for element in at.markdown:
        assert "![x](http" not in element.value
    if part == "Claims":
        assert "9 comparisons with the base" in text_of(at)
        assert html_of(at).count("<article") == 9
    if part == "Scores":
        assert "in-domain" in html_of(at)
        assert "75.0%" in html_of(at)
    if part == "Answers":
        assert "Right if cut at the first answer" in html_of(at)


def test_a_set_of_likelihoods_alone() -> None:
    run = made(sets=["codealpaca"])
    put(run.folder, "base", "codealpaca", read(0.7))
    put(run.folder, "projected", "codealpaca", read(0.6))
    assert "−0.100 nats" in html_of(opened(run))
    assert "Sets scored by likelihood have none of this" in text_of(opened(run, "Answers"))
    at = opened(run, "Items", **{session.ITEM: "item-3"})
    assert at.selectbox(key=session.ITEM_FILTER).options == [f"{ALL} (40)", f"{FALLS} (40)", f"{RISES} (0)"]
    assert "0.6300 nats" in html_of(at)
    assert "mean over 9 tokens of the right answer" in html_of(at)


def test_a_damaged_cell_is_said_the_rest_stays_and_it_is_answered_again() -> None:
    run = made()
    fill(run.folder)
    run.write_status(Status(state="done", since=time.time()))
    cell_path(run.folder, "spd", 42, "arithmetic").write_text("{broken}\n")
    at = opened(run)
    shown = text_of(at)
    assert "1 cell of 12 is damaged and left out; the others are as they were." in shown
    assert "Left out: SPD on arithmetic (seed 42)." in shown
    assert "is damaged" in shown
    assert html_of(at).count("<article") == 8, "the other comparisons are there"
    assert "So far, with 1 comparison missing" in html_of(at)
    press(at, "Answer these again")
    assert states.status_of(run).state == "queued", "its job sets the file aside, and asks what is missing"
    assert cell_path(run.folder, "spd", 42, "arithmetic").exists()
    again = opened(run, live=True)
    assert next(one for one in again.button if one.label == "Answer these again").disabled


def test_the_verdict_stands_above_every_part() -> None:
    run = made()
    fill(run.folder)
    for part in ("Claims", "Scores", "Map", "Items", "Answers", "Export"):
        drawn = html_of(opened(run, part))
        assert 'class="spd-verdict-box spd-helps"' in drawn
        assert "</dfn> helps on Arithmetic by +50.0 points (" in drawn, "SPD says what it means"


# --- what would tell more ----------------------------------------------------------------------------------------


def test_proposals_are_priced_and_fill_the_form() -> None:
    run = made(subjects=["base", "projected", "spd", "ssd"], sets=["arithmetic"])
    for name, right in (("base", 10), ("projected", 8), ("spd", 14), ("ssd", 11)):
        put(run.folder, name, "arithmetic", answered(right))
    at = opened(run)
    shown = text_of(at)
    assert "3 controls: Projected, random subspace, Projected, full-loss subspace, Projected, shuffled answers" in shown
    assert "4 controls: Random subspace, Full-loss subspace, Shuffled answers, PSR" in shown
    assert "at most." in shown
    press(at, "Add the missing controls of SPD")
    proposed = at.session_state["proposed"]
    assert {"random", "full", "shuffled", "psr"} <= {one.name for one in proposed.subjects}
    assert proposed.sets == run.record.evaluation.sets
    press(at, "Extend Arithmetic to n = 160")
    (asked,) = at.session_state["proposed"].sets
    assert asked.limit == 160
    assert at.session_state["proposed"].subjects == run.record.evaluation.subjects


def test_more_items_say_what_could_then_be_seen() -> None:
    run = made(subjects=["base", "projected"], sets=["arithmetic"])
    put(run.folder, "base", "arithmetic", answered(10))
    put(run.folder, "projected", "arithmetic", answered(8))
    (step,) = [one for one in next_steps.steps_of(open_tables.table_of(run)) if one.label.startswith("Extend")]
    now, then = (math.ceil(100 * minimum_detectable(n, 2 / 40)) for n in (40, 160))  # 2 of 40 items changed
    assert f"From 40 items: a difference below about {now} points may have gone unseen" in step.gives
    assert f"then one below about {then} points" in step.gives
    assert "What would tell more" not in str(opened(run, live=True).expander), "while it works nothing is proposed"


def test_a_group_of_tasks_is_extended_by_as_many_items_of_each_and_not_past_its_end() -> None:
    def steps(limit: int | None) -> list[next_steps.Step]:
        group = "harness:my_group"  # two tasks of 20 items were asked, 40 in all
        run = made(subjects=["base", "projected"], sets=[{"capability": group, "limit": limit}])
        (asked,) = run.record.evaluation.sets
        put(run.folder, "base", asked.name, answered(10))
        put(run.folder, "projected", asked.name, answered(8))
        return [one for one in next_steps.steps_of(open_tables.table_of(run)) if one.label.startswith("Extend")]

    (step,) = steps(20)
    assert step.label.endswith("n = 160")
    assert [one.limit for one in step.recipe.sets] == [80]
    assert not steps(60), "a task of 40 items was asked whole"
    assert not steps(None)


def test_statistics_are_computed_once_for_each_state_of_the_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    run, read_tables = made(), []

    def counting(*args: Any) -> Any:
        read_tables.append(args)
        return read_table(*args)

    monkeypatch.setattr(open_tables, "read_table", counting)
    put(run.folder, "base", "arithmetic", answered(10))
    first = open_tables.table_of(run)
    assert open_tables.table_of(run) is first
    put(run.folder, "spd", "arithmetic", answered(12))
    assert open_tables.table_of(run).done == 2
    path = cell_path(run.folder, "spd", 42, "arithmetic")
    os.utime(path, ns=(1, 1))
    open_tables.table_of(run)
    assert len(read_tables) == 3
    whole, lines = items_path(path), items_path(path).read_bytes().splitlines(keepends=True)
    whole.write_bytes(b"".join(lines[:-1]))  # an answer that SPD alone has given
    assert [one.subject for one in open_tables.table_of(run).damaged] == ["spd"], "its items count, too"
    whole.unlink()
    assert [one.subject for one in open_tables.table_of(run).damaged] == ["base", "spd"]


# --- beside another evaluation ---------------------------------------------------------------------------------


def two_evaluations() -> tuple[Run, Run]:
    """The second has asked the same 40 items, and SPD has 20 more of them right; the base is the same subject."""
    first, second = (made(subjects=["base", "spd", "psr"], sets=["arithmetic"]) for _ in range(2))
    for run, right, who in ((first, 14, "1a" * 32), (second, 34, "2b" * 32)):
        put(run.folder, "base", "arithmetic", answered(10))
        put(run.folder, "spd", "arithmetic", answered(right), about=who)
    return first, second


def test_this_evaluation_beside_another_one_pair_by_pair() -> None:
    first, second = two_evaluations()
    at = opened(first, "Compare", **{session.COMPARED_WITH: [second.id]})
    assert "2 cells in common: 1 of the very same subject (by its fingerprint), all on the same items" in text_of(at)
    (folded,) = (one for one in at.expander if one.label == "The same subject in both: 1 cell")
    assert not folded.proto.expanded, "it has answered alike"
    table = html_of(at)
    assert "the same subject" in table
    assert "▲ better" in table
    assert "+50.0 points (" in table, "20 of 40 items more"
    assert "<img" not in table
    assert len(at.get("plotly_chart")) == 1


def test_evaluations_without_anything_in_common_say_so() -> None:
    first, second = made(subjects=["base", "spd"], sets=["arithmetic"]), made(sets=["codealpaca"])
    put(first.folder, "base", "arithmetic", answered(10))
    put(second.folder, "base", "codealpaca", read(0.7), fingerprint="0" * 64)
    at = opened(first, "Compare", **{session.COMPARED_WITH: [second.id]})
    assert "They share no subject on a set" in text_of(at)
    assert "How to read this: a difference" not in text_of(at), "there is none to be read"
    second.write_status(Status(state="done", since=0.0))
    assert "Another evaluation can be compared" not in text_of(opened(first, "Compare"))


def test_the_figure_of_pairs_says_which_is_better_without_colour() -> None:
    first, second = two_evaluations()
    pairs = [one for one in shared_cells(*map(open_tables.table_of, (first, second))) if not one.same_subject]
    figure = pair_charts.pair_differences(pairs, True)
    (mark,) = [trace for trace in figure.data if trace.name == "better"]
    assert (list(mark.x), mark.marker.symbol) == ([pytest.approx(50)], "triangle-up")
    assert figure.layout.xaxis.range[1] == pytest.approx(1.08 * 100 * pairs[0].difference.interval.high)
    back = [one for one in shared_cells(*map(open_tables.table_of, (second, first))) if not one.same_subject]
    assert [row["Shows"] for row in pair_charts.pair_rows(back)] == ["▼ worse"]


def listed_script() -> None:
    from app.evaluation import all_evaluations
    from app.runs.listed import ListedRun
    from spd_core.runs.folder import all_runs
    from spd_core.runs.states import status_of

    all_evaluations.EVALUATIONS.compare([ListedRun(run, status_of(run)) for run in all_runs()])  # type: ignore[misc, arg-type, union-attr]


def test_evaluations_of_the_list_beside_each_other() -> None:
    first, second = two_evaluations()
    record = json.loads((second.folder / "run.json").read_text())
    (second.folder / "run.json").write_text(json.dumps({**record, "created": "2099-01-01T00:00:00"}))
    at = AppTest.from_function(listed_script, default_timeout=LONG)
    at.session_state[session.EVALUATIONS_COMPARED] = [second.id, first.id]
    at.run()
    assert not at.exception
    assert "▲ better" in html_of(at), "the oldest is what the other is held to, in whichever order they were chosen"
    press(at, "Close")
    assert "▲ better" not in html_of(at)


# --- items -------------------------------------------------------------------------------------------------------


def item(name: str, right: bool, **more: Any) -> ItemRecord:
    return ItemRecord(id=name, prompt=f"Q {name}", gold="1", **{"completion": " 1", "extracted": "1", "correct": right,
                      "ended": True, "finish": "eos", **more})  # fmt: skip


PAIRS = [
    Pair(item("a", True), item("a", False)),
    Pair(item("b", False), item("b", True)),
    Pair(item("c", False, extracted=None, finish="length", completion="Needle"), item("c", False)),
    Pair(item("d", True), item("d", True)),
    Pair(item("e", True, finish="length"), item("e", True)),
]


@pytest.mark.parametrize(
    ("name", "search", "left"),
    [(ALL, "", "abcde"), (GAINED, "", "a"), (LOST, "", "b"), ("both wrong", "", "c"), ("both right", "", "de"),
     (UNREAD, "", "c"), (LIMIT, "", "ce"), (ALL, "needle", "c"), (ALL, " q D ", "d"), (GAINED, "needle", "")],
)  # fmt: skip
def test_filters_by_hand(name: str, search: str, left: str) -> None:
    assert "".join(pair.mine.id for pair in item_pairs.filtered(PAIRS, name, search)) == left
    assert name in item_pairs.filters(PAIRS, False)


def test_falls_and_rises_the_largest_first() -> None:
    def nats(name: str, base: float, mine: float) -> Pair:
        return Pair(item(name, False, nll=mine), item(name, False, nll=base))

    pairs = [nats("a", 1.0, 0.9), nats("b", 1.0, 0.5), nats("c", 1.0, 1.2), nats("d", 1.0, 1.0)]
    assert [pair.mine.id for pair in item_pairs.filtered(pairs, FALLS)] == ["b", "a"]
    assert [pair.mine.id for pair in item_pairs.filtered(pairs, RISES)] == ["c"]
    assert item_pairs.filters(pairs, True) == (ALL, FALLS, RISES)


def test_texts_of_rows_are_one_short_line() -> None:
    (row,) = item_pairs.table_rows([Pair(item("a", False, completion=f"x\n\n{EVIL}\x1b" * 9, reason="no code"))], False)
    assert (row["subject_right"], row["reason"], row["subject_answer"]) == ("✗ wrong", "no code", "1")
    assert len(row["subject_text"]) == 160
    assert "\n" not in row["subject_text"]
    assert "⟨U+001B⟩" in row["subject_text"]


def test_one_item_in_full_is_text_alone() -> None:
    run = made(subjects=["base", "projected"], sets=["arithmetic"])
    put(run.folder, "base", "arithmetic", answered(10, text=f"base {EVIL} 9"))
    put(run.folder, "projected", "arithmetic", answered(9, text=f"mine {EVIL}", reason=f"why {EVIL}"))
    at = opened(run, "Items", **{session.ITEM: "item-9"})
    assert [code.value for code in at.code] == ["Question: 9?\nAnswer:", "9"]
    drawn = html_of(at)
    assert "base &lt;img src=x onerror=alert(1)&gt; ![x](http://evil.example/i.png) <mark" in drawn
    assert "why &lt;img" in drawn
    assert "<img" not in drawn
    assert at.selectbox(key=session.ITEM_FILTER).options[1:3] == [f"{GAINED} (0)", f"{LOST} (1)"]
    assert not any("![x](http" in element.value for element in at.markdown)
    at.selectbox(key=session.ITEM_FILTER).select(LOST).run()
    assert "Item **1** of 1" in text_of(at)
    at.text_input(key=session.ITEM_SEARCH).set_value("nothing like it").run()
    assert "None of 40 items is left" in text_of(at)
    assert not at.code, "an item that is filtered away is not shown"


def columns_of(at: AppTest) -> list[tuple[str, str, str]]:
    """Of every column of the item: who, right or wrong, and what is marked."""
    found = re.findall(r'<article class="spd-answer.*?</article>', html_of(at), re.DOTALL)
    return [
        (
            *re.findall(r'aria-label="(.*?): (.*?)"', one)[0],
            "".join(re.findall(r"<mark.*?>(.*?)</mark>", one)),
        )
        for one in found
    ]


def test_all_subjects_stand_beside_each_other_with_the_place_that_was_read() -> None:
    run = made(subjects=["base", "projected", "projected-random", "spd"], sets=["arithmetic"])
    long = "so 3 of them\nmath: and 9?"
    for name, text, read_answer in (
        ("base", " 2 + 1 = 3", "3"), ("projected", long, "3"), ("projected-random", "none", None),
        ("spd", "4, or 5", "5"),
    ):  # fmt: skip
        right = read_answer == "3"
        put(run.folder, name, "arithmetic", answered(10, text=text, extracted=read_answer, correct=right))
    at = opened(run, "Items", **{session.ITEM_SUBJECT: "spd"})
    assert columns_of(at) == [
        ("Base", "✓ right", "3"), ("SPD", "✗ wrong", "5"), ("Projected", "✓ right", "3"),
        ("Projected, random subspace", "✗ wrong", ""),
    ]  # fmt: skip
    assert '<span class="spd-unread" title="Not read: the answer had ended">math: and 9?</span>' in html_of(at)
    assert "read: <b>nothing</b>" in html_of(at)


def test_keys_step_through_the_items_and_the_table_follows() -> None:
    run = made(subjects=["base", "projected"], sets=["arithmetic"])
    put(run.folder, "base", "arithmetic", answered(10, n=250))
    at = opened(run, "Items", **{session.ITEM_SUBJECT: "gone", session.ITEM_SET: "gone", session.ITEM_FILTER: "gone"})
    assert at.selectbox(key=session.ITEM_SUBJECT).value == "base"
    assert at.selectbox(key=session.ITEM_FILTER).options == [
        "all (250)", "right (10)", "wrong (240)", "could not be read (0)", "ran into the length limit (0)"]  # fmt: skip
    assert len(at.dataframe[0].value) == 100
    previous, following = (next(one for one in at.button if one.label == label) for label in ("Previous", "Next"))
    assert (previous.disabled, following.disabled) == (True, False)
    press(at, "Next")
    assert "Item **2** of 250: item-1" in text_of(at)
    at.session_state[session.ITEM] = "item-199"
    at.run()
    press(at, "Next")
    assert at.dataframe[0].value["item"].iloc[0] == "item-200"
    assert len(at.dataframe[0].value) == 50


def test_a_link_restores_the_item_and_leaves_the_other_parts_alone() -> None:
    run = made(subjects=["base", "projected"], sets=["arithmetic", "multiple-choice"], seeds=[1, 2])
    for set_name in ("arithmetic", "multiple-choice"):
        put(run.folder, "base", set_name, answered(10), seed=1)
        put(run.folder, "projected", set_name, answered(8), seed=1)
    link = {
        session.ITEM_SUBJECT: "projected", session.ITEM_SET: "multiple-choice", session.ITEM_FILTER: LOST,
        session.ITEM: "item-9",
    }  # fmt: skip
    at = AppTest.from_function(script, kwargs={"name": run.id}, default_timeout=LONG)
    at.query_params.update({session.RESULTS_PART: "Items", **link})
    at.run()
    assert not at.exception
    assert "Item **2** of 2: item-9" in text_of(at)
    assert at.selectbox(key=session.ITEM_SET).value == "multiple-choice"
    assert {key: at.query_params[key] for key in link} in (link, {key: [value] for key, value in link.items()})
    press(at, "Previous")
    assert at.query_params[session.ITEM] in ("item-8", ["item-8"])
    at.session_state[session.RESULTS_PART] = "Scores"
    at.run()
    assert not set(link) & set(at.query_params)


def test_seeds_are_looked_at_one_by_one() -> None:
    run = made(subjects=["base", "projected-random"], sets=["arithmetic"], seeds=[1, 2])
    put(run.folder, "base", "arithmetic", answered(10), seed=1)
    for seed, right in ((1, 10), (2, 12)):
        put(run.folder, "projected-random", "arithmetic", answered(right), seed=seed)
    at = opened(run, "Items")
    assert f"{GAINED} (0)" in at.selectbox(key=session.ITEM_FILTER).options
    at.selectbox(key=session.ITEM_SEED).select(2).run()
    assert f"{GAINED} (2)" in at.selectbox(key=session.ITEM_FILTER).options


def test_from_the_map_to_the_items() -> None:
    run = made()
    fill(run.folder)
    at = opened(run, "Map", **{session.ITEM_SUBJECT: "spd", session.ITEM_SET: "multiple-choice"})
    press(at, "Look at its items")
    assert at.selectbox(key=session.ITEM_SUBJECT).value == "spd"
    assert at.selectbox(key=session.ITEM_SET).value == "multiple-choice"


# --- on Side by side ---------------------------------------------------------------------------------------------


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have captures at hand: recorded ones."""

    def have(*names: str) -> None:
        monkeypatch.setattr(session, "analysis_names", lambda: list(names))
        monkeypatch.setattr(session, "open_analysis", open_capture)

    have(*recorded_captures())
    return have


def cell_of(folder: Path, subject: Subject, set_name: str = "arithmetic", **more: Any) -> Cell:
    items = read(0.7) if set_name == "codealpaca" else answered(3)
    put(folder, subject.name, set_name, items, **more)
    found = read_cell(folder, subject.name, more.get("seed", 42), set_name)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("of", ["capability", "random"])
def test_a_mixed_subject_opens_with_its_gains_on_the_desk(tmp_path: Path, at_hand: Any, of: Any) -> None:
    gains = parse_gains("29v_1x0_3x2")
    subject = Subject(kind="projected", of=of, strength=0, rank="24", gains=gains, kinds=("value",), layers=(29,))
    found = opening.how_to_open(recipe(["base", subject]), subject, cell_of(tmp_path, subject), answered(1)[0])
    assert (found.rank, found.values[session.MIX]) == (24, "29v_1x0_3x2")
    assert found.values[session.MIX_CONTROL] == (of == "random")
    assert found.scored is not None
    lanes = mixed_lanes(gains, 24, control=of == "random")
    drawn = lanes[-1].model_copy(update={"seed": found.values.get(session.RANDOM_SEED, found.scored.spec.seed)})
    assert found.scored.spec == drawn, "the very lane that Side by side will write"


@pytest.mark.parametrize(
    ("subject", "more", "rank", "strength"),
    [
        (Subject(kind="projected"), [], 96, 1.0),
        (Subject(kind="projected", of="random", rank="24"), [RANDOM], 24, 1.0),
        (Subject(kind="projected", complement=True, strength=0.5), [COMPLEMENT], 96, 0.5),
        (Subject(kind="projected", capture="arithmetic", rank="999"), [], 192, 1.0),
    ],
)
def test_projected_subjects_open_with_their_lanes(
    tmp_path: Path, at_hand: Any, subject: Subject, more: list[str], rank: int, strength: float
) -> None:
    asked = recipe(["base", subject])
    found = opening.how_to_open(asked, subject, cell_of(tmp_path, subject), answered(1)[0])
    assert (found.capture, found.rank) == ("arithmetic", rank)
    assert found.notes == (
        "This table was made before December 2026 and does not say which capture answered. arithmetic looks like it; "
        "the text that it writes will tell.",
    )
    assert found.values[session.MORE_LANES] == more
    assert (found.values[session.STRENGTH], found.values[session.RANDOM_SEED]) == (strength, 42)
    assert found.values[session.PROMPT] == "Question: 0?\nAnswer:"
    assert (found.values[session.PROMPT_STYLE], found.values[session.CHOICE]) == ("exact", "greedy")
    assert found.values[session.NEW_TOKENS] == 32


def test_what_will_be_otherwise_is_said(tmp_path: Path, at_hand: Any) -> None:
    subject = NAMED["projected"]
    other = recipe(["base", subject], capture={"examples": 24, "layers": "all"})
    (note,) = opening.how_to_open(other, subject, cell_of(tmp_path, subject), answered(1)[0]).notes
    assert "50 examples, the table's 24" in note
    assert "layers 15, 29, the table's all" in note
    likelihood = opening.how_to_open(recipe(), subject, cell_of(tmp_path, subject, "codealpaca"), read(1)[0])
    assert "Side by side writes one" in likelihood.notes[-1]
    assert likelihood.scored is None


def kept(name: str, run: str = "", **changes: Any) -> Analysis:
    """A capture of the tiny kind that lies on the shelf, or in a run's folder, under this name."""
    recorded = open_capture("arithmetic")
    record = recorded.provenance.model_copy(update=changes)
    place = place_of(f"{run}/{name}" if run else name)
    save_capture(dataclasses.replace(recorded, provenance=record), place)
    return open_capture(f"{run}/{name}" if run else name)


@pytest.mark.parametrize(
    ("subject", "more"),
    [
        (Subject(kind="projected"), []),
        (Subject(kind="projected", of="random"), [RANDOM]),
        (Subject(kind="projected", of="full loss"), []),
        (Subject(kind="projected", of="shuffled answers"), []),
    ],
)
def test_the_very_capture_that_answered_is_opened_though_a_newer_one_fits(
    tmp_path: Path, subject: Subject, more: list[str]
) -> None:
    own = kept("own-1234", "run-1", loss="full", dtype="float64")
    kept("20300101-000000-arithmetic-abcd", dtype="float32")  # newer, of the same capability
    cell = cell_of(tmp_path, subject).model_copy(update={"capture": "run-1/own-1234", "subspace": own.identity})
    found = opening.how_to_open(recipe(["base", subject]), subject, cell, answered(1)[0], {"item": "item-0"})
    assert (found.capture, found.rank, found.notes) == ("run-1/own-1234", 96, ())
    assert found.values[session.MORE_LANES] == more
    assert found.scored is not None
    assert (found.scored.completion, found.scored.link) == (" 7", {"item": "item-0"})
    assert (found.scored.spec.of, found.scored.spec.rank) == ("random" if more else "capability", "96")


def test_base_and_arms_open_with_a_capture_of_the_number_format_that_answered(tmp_path: Path) -> None:
    subject, asked = NAMED["base"], recipe(["base"])
    cell = cell_of(tmp_path, subject).model_copy(update={"dtype": "bfloat16"})
    (note,) = opening.how_to_open(asked, subject, cell, answered(1)[0]).notes
    assert "written in bfloat16" in note
    kept("own", "run-1", dtype="bfloat16")
    found = opening.how_to_open(asked, subject, cell, answered(1)[0], beside=("gone/one", "run-1/own"))
    assert (found.capture, found.notes) == ("run-1/own", ())


def test_a_capture_that_is_gone_is_refused_and_never_another_taken(tmp_path: Path) -> None:
    subject = NAMED["projected"]
    own = kept("own", "run-1", dtype="float64")
    cell = cell_of(tmp_path, subject).model_copy(update={"capture": "run-1/own", "subspace": own.identity})
    shutil.rmtree(place_of("run-1/own"))
    kept("20300101-000000-arithmetic-abcd")
    asked = recipe(["base", subject])
    with pytest.raises(InputError, match=r"its capture run-1/own is gone, or damaged; nothing else may stand in"):
        opening.how_to_open(asked, subject, cell, answered(1)[0])
    kept("own", "run-1", dtype="float32", examples_used=7)  # another one under its name
    with pytest.raises(InputError, match=r"another capture has its name now, run-1/own: 7 examples of arithmetic"):
        opening.how_to_open(asked, subject, cell, answered(1)[0])
    kept("20310101-000000-arithmetic-abcd", dtype="float64")  # the same one, elsewhere
    found = opening.how_to_open(asked, subject, cell, answered(1)[0])
    assert found.capture == "20310101-000000-arithmetic-abcd"
    assert "is the same capture under another name" in found.notes[0]


@pytest.mark.parametrize(
    ("subject", "names", "why"),
    [
        (Subject(kind="checkpoint", model="folder"), ["arithmetic"], "a checkpoint of its own"),
        (
            Subject(kind="projected", of="shuffled answers"),
            ["arithmetic"],
            "does not say which capture of shuffled answers",
        ),
        (Subject(kind="projected", of="full loss"), ["arithmetic"], "no capture of arithmetic (full loss)"),
        (Subject(kind="projected"), [], "no capture of arithmetic (aligned loss) on builtin is on this machine"),
        (Subject(kind="projected", rank="energy:0.9"), ["arithmetic"], "its rank rule energy:0.9"),
        (
            Subject(kind="distilled", arm="spd"),
            ["arithmetic"],
            "the adapter that answered is no longer on this machine",
        ),
    ],
)
def test_what_cannot_be_opened_says_why(
    tmp_path: Path, at_hand: Any, subject: Subject, names: list[str], why: str
) -> None:
    at_hand(*names)
    cell = cell_of(tmp_path, subject)
    with pytest.raises(InputError, match=re.escape(why)):
        opening.how_to_open(recipe(["base", subject]), subject, cell, answered(1)[0])


def test_a_distilled_subject_opens_the_very_adapter_that_answered(tmp_path: Path, at_hand: Any) -> None:
    """An item of an old table got a newer run's adapter: it named none, and the newest of its arm was taken."""
    asked, subject = recipe(), NAMED["spd"]
    training = asked.distillation(42)
    assert training is not None
    prints = {}
    for number in (1.0, 2.0):
        run = queue.create_here(training)
        run.write_status(Status(state="done", since=0.0))
        card = AdapterCard(
            run=run.id, arm="spd", base="builtin", revision=REVISION, dtype="float32", capability="arithmetic",
            rows=1, steps=1, planned=1, finished=True, settings=training.train, created="2026",
            versions={},
        )  # fmt: skip
        made = Adapter(card, {"model.q_proj": Delta(torch.full((1, 2), number), torch.ones(2, 1), 1.0)})
        save_adapter(made, run.folder / "adapters" / "spd", SimpleNamespace(model_type="llama"))
        prints[run.id] = saved_adapter(card.ref).fingerprint
    older, newer = prints
    known = {"model": REVISION, "dtype": "torch.float32", "subspace": "", "how": None, "adapter": prints[older]}
    subject_hash = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    cell = cell_of(tmp_path, subject)
    old = cell.model_copy(update={"about": cell.about.model_copy(update={"subject": subject_hash}), "adapter": ""})
    for named in ("", f"{older}/spd", f"{newer}/spd"):
        one = old.model_copy(update={"adapter": named})
        found = opening.how_to_open(asked, subject, one, answered(1)[0])
        assert (found.values[session.DISTILLED], found.rank) == ([f"{older}/spd"], None)
    shutil.rmtree(runs_folder() / older)
    with pytest.raises(InputError, match="the adapter that answered is no longer on this machine"):
        opening.how_to_open(asked, subject, old, answered(1)[0])


@pytest.mark.builtin
def test_one_press_opens_the_item_there() -> None:
    run = made(subjects=["base", "projected-random"], sets=["arithmetic"])
    for subject in ("base", "projected-random"):
        put(run.folder, subject, "arithmetic", answered(10))
    at = opened(run, "Items", **{session.ITEM: "item-3"})
    press(at, "Open in Side by side")
    at.run()
    assert at.title[0].value == "Side by side"
    assert at.text_area(key=session.PROMPT).value == "Question: 3?\nAnswer:"
    assert at.number_input(key=session.RANDOM_SEED).value == 42
    assert at.number_input(key=session.NEW_TOKENS).value == 32
    assert "greedy" in text_of(at)
    assert "3 lanes" in text_of(at)
