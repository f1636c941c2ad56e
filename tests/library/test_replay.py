"""Replays find the same numbers again, and whatever was changed behind their back; expectations are planted here."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spd_core.data.capability import Capability, Example, Settings
from spd_core.errors import InputError
from spd_core.generation.compare import compare
from spd_core.generation.comparison import comparison_json, save_comparison
from spd_core.library.bundle import write_bundle
from spd_core.library.incoming import import_bundle
from spd_core.library.replay import replay
from spd_core.library.replay_report import ReplayReport, relative_rounding
from spd_core.library.things import Ref
from spd_core.recipes.capture import CaptureSettings
from spd_core.recipes.lanes import RAW, LaneSpec, Sampling
from spd_core.subspace.pipeline import capture
from spd_core.subspace.store import load_capture, place_of, save_capture
from tests.library.test_shelf import RUN, TABLE

CAPTURED = Ref("capture", "replayed")
EXAMPLES = [Example(id=f"e{i}", prompt=f"What is {i} + {2 * i}?", answer=str(3 * i)) for i in range(1, 9)]
SUMS = Capability(Settings(capability="sums"), tuple(EXAMPLES))


def verdicts(report: ReplayReport) -> dict[str, str]:
    return {row.what: row.verdict for row in report.rows}


@pytest.fixture
def captured(home: Path, tiny_lm: Callable[[str], Any]) -> Path:
    """A capture of a tiny model and a text of its lanes; returns the capture's folder."""
    lm = tiny_lm("llama")
    found = capture(lm, SUMS, CaptureSettings(layers="1,2", rank="4", batch_size=3), name=CAPTURED.name)
    save_capture(found, place_of(CAPTURED.name))
    lanes = (RAW, LaneSpec(kind="projected", rank="4"))
    text = compare(lm, found, "What is 4 + 5?", lanes, Sampling(temperature=0.7, max_new_tokens=12, seed=3))
    save_comparison(text.model_copy(update={"id": "written"}))
    return place_of(CAPTURED.name)


# --- without a model ---------------------------------------------------------------------------------------------


def test_an_evaluation_is_counted_again_from_its_items(home: Path) -> None:
    report = replay(Ref("evaluation", TABLE))
    assert report.count("differs") == 0
    counted = [row for row in report.rows if row.what.endswith(": value")]
    assert len(counted) == 5, "five subjects on one set"
    assert {row.recomputed for row in counted} == {"0.333333"}, "two of six are right, says the table of then"
    assert report.surroundings == (), "no model was asked"


def test_a_value_and_an_interval_that_were_changed_are_found(home: Path) -> None:
    folder = home / "runs" / TABLE
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    cell = next(one for one in events if one.get("kind") == "cell" and one["arm"] == "base")
    cell["value"] = 0.5
    (folder / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    lines = (folder / "table.csv").read_text().splitlines()
    at = lines[0].split(",").index("high")
    row = lines[1].split(",")
    row[at] = "0.99"
    (folder / "table.csv").write_text("\n".join([lines[0], ",".join(row), *lines[2:]]) + "\n")
    report = replay(Ref("evaluation", TABLE))
    wrong = {row.what: (row.recorded, row.recomputed) for row in report.rows if row.verdict == "differs"}
    assert wrong["base, seed 42, arithmetic: value"] == ("0.5", "0.333333")
    assert wrong["base, arithmetic: interval"][0] == "0.99"
    assert len(wrong) == 2
    assert report.sentence.startswith("2 of ")


def test_an_answer_that_was_marked_right_by_hand_is_read_again(home: Path) -> None:
    folder = next(path for path in sorted((home / "evaluations").iterdir()))
    rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    wrong = next(one for one in rows if not one["correct"])
    wrong["correct"] = True
    (folder / "items.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (row,) = replay(Ref("answers", folder.name)).rows
    assert (row.verdict, row.difference) == ("differs", "1 answers")
    assert wrong["id"] in row.reason


def test_a_run_and_its_adapter_are_looked_over_again(home: Path) -> None:
    assert replay(Ref("run", RUN)).count("differs") == 0
    assert verdicts(replay(Ref("adapter", f"{RUN}/spd"))) == {"rows trained on": "matches"}
    corpus = home / "runs" / RUN / "corpora" / "spd-round-1.jsonl"
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    trained = min((one for one in rows), key=lambda one: one["number"])
    trained["completion"] += " and more"
    corpus.write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert verdicts(replay(Ref("adapter", f"{RUN}/spd"))) == {"rows trained on": "differs"}


def test_what_cannot_be_replayed_says_why(home: Path) -> None:
    with pytest.raises(InputError, match="no capture 'gone'"):
        replay(Ref("capture", "gone"))
    (row,) = replay(Ref("capability", "doubles")).rows
    assert (row.verdict, "no computed number" in row.reason) == ("not replayed", True)


# --- with a model ------------------------------------------------------------------------------------------------


def test_a_capture_and_its_texts_come_out_the_same(captured: Path) -> None:
    report = replay(CAPTURED)
    assert report.count("differs") == report.count("not replayed") == 0
    assert verdicts(report)["tokens"] == "matches"
    assert {one.what for one in report.surroundings} >= {"device", "dtype", "torch", "transformers", "threads"}
    assert all(one.same for one in report.surroundings if one.recorded)
    texts = replay(Ref("text", "written"))
    assert set(verdicts(texts).values()) == {"matches"}
    assert len(texts.rows) == 2


def test_spectra_and_directions_that_were_changed_are_found(captured: Path) -> None:
    found = load_capture(captured)
    site, then = next(iter(found.sites.items()))
    values = then.values.copy()
    values[2] *= 1.02  # two percent, where float32 leaves a few millionths
    turned = then.vectors[:, [8, *range(1, 8), 0, *range(9, site.d_kv)]]  # the first direction leaves the half
    other = next(one for one in found.sites if one != site)
    sites = {**found.sites, site: dataclasses.replace(then, values=values)}
    sites[other] = dataclasses.replace(found.sites[other], vectors=turned)
    changed = found.provenance.model_copy(update={"mean_loss": found.provenance.mean_loss + 0.001, "tokens": 7})
    save_capture(dataclasses.replace(found, sites=sites, provenance=changed), captured, overwrite=True)
    wrong = {row.what for row in replay(CAPTURED).rows if row.verdict == "differs"}
    assert wrong >= {"tokens", "mean loss, nats", f"{site.label}: {site.d_kv} σ, worst σ3"}
    assert f"{other.label}: angle of rank 8" in wrong


def test_a_token_that_was_changed_is_named(captured: Path, home: Path) -> None:
    path = home / "texts" / "written.json"
    record = json.loads(path.read_text())
    record["lanes"][1]["tokens"][4]["id"] += 1
    path.write_text(json.dumps(record))
    report = replay(Ref("text", "written"))
    assert [row.verdict for row in report.rows] == ["matches", "differs"]
    assert report.rows[1].difference == "from token 5"


def test_another_model_or_none_is_said(
    captured: Path, tiny_lm: Callable[[str], Any], family_folder: Callable[[str], Path]
) -> None:
    found = load_capture(captured)
    record = found.provenance.model_copy(update={"model": "/nowhere/model"})
    save_capture(dataclasses.replace(found, provenance=record), captured, overwrite=True)
    (row,) = replay(CAPTURED).rows
    assert (row.verdict, "not on this machine" in row.reason) == ("not replayed", True)
    (row,) = replay(CAPTURED, model=str(family_folder("mistral"))).rows
    assert (row.verdict, "this was made with" in row.reason) == ("not replayed", True)
    assert replay(CAPTURED, model=str(family_folder("llama"))).count("differs") == 0


def test_a_bundle_replays_in_another_home_before_and_after_it_comes_in(
    captured: Path, home: Path, second_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle([Ref("text", "written"), Ref("run", RUN)], tmp_path / "a.zip")
    table = write_bundle([Ref("evaluation", TABLE)], tmp_path / "b.zip")
    shutil.move(home, tmp_path / "gone")
    monkeypatch.setenv("SPD_HOME", str(second_home))
    report = replay(bundle)
    assert report.count("differs") == 0
    assert report.count("not replayed") == 0
    assert {row.thing.partition(":")[0] for row in report.rows} >= {"capture", "text", "run", "adapter"}
    assert [path.name for path in second_home.iterdir() if not path.name.startswith(".")] in ([], ["hashes.json"])
    import_bundle(bundle)
    import_bundle(table)
    assert replay(CAPTURED).count("differs") == replay(Ref("evaluation", TABLE)).count("differs") == 0


def test_a_stop_keeps_what_is_known(captured: Path) -> None:
    report = replay(CAPTURED, stop=lambda: True)
    assert (report.rows, report.stopped) == ((), True)


def test_rounding_grows_with_depth_and_the_format() -> None:
    # 12 layers of width 64, by hand: (2⁻²⁴ + 2⁻²⁴ · 8) · √240, and half of bfloat16's 2⁻⁷ dominates
    assert relative_rounding("float32", 12, 64) == pytest.approx(9 * 2**-24 * np.sqrt(240))
    assert relative_rounding("bfloat16", 12, 64) == pytest.approx((2**-8 + 8 * 2**-24) * np.sqrt(240))


def test_the_words_of_a_comparison_stay_its_own(captured: Path, home: Path) -> None:
    from spd_core.generation.comparison import load_comparison

    before = comparison_json(load_comparison("written"))
    replay(Ref("text", "written"))
    assert comparison_json(load_comparison("written")) == before
