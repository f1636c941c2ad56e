"""The record of a comparison: to disk and back, labels, sentences, HTML that is only text."""

import json
from pathlib import Path
from typing import Any

import pytest

from spd_core.errors import InputError
from spd_core.generation import comparison as texts
from spd_core.generation import report
from spd_core.generation.comparison import AdapterFacts, Comparison, LaneText, Token
from spd_core.generation.report import projection_sentence
from spd_core.generation.verdict import comparison_verdict
from spd_core.recipes.gains import SiteGains
from spd_core.recipes.lanes import RAW, Grid, LaneSpec, Sampling, labels
from spd_core.text import opening, shown

FORK = '<b class="fork" title="The first token that differs">▼</b>'
HOSTILE = "<script>alert(1)</script> ![x](http://evil/i.png) \x1b[31mred \u202egnp.exe <img src=http://evil>"


def lane(label: str, words: list[str], *, spec: LaneSpec = RAW, finish: str = "length", **more: Any) -> LaneText:
    tokens = tuple(
        Token(id=sum(map(ord, w)), text=w, logprob=-1.0, entropy=0.5, kl=0.25, other_logprob=-2.0,
              top=((w, 0.5), ("<b>", 0.25)), other_top=(("\u202e", 0.125),))
        for w in words
    )  # fmt: skip
    known: dict[str, Any] = {
        "label": label,
        "spec": spec,
        "tokens": tokens,
        "finish": finish,
        "seconds": 2.0,
        "other": 0,
    }
    return LaneText(**{**known, **more})


def comparison(*lanes: LaneText, **more: Any) -> Comparison:
    known: dict[str, Any] = {
        "id": "20260102-030405-abcd", "created": "2026-01-02T03:04:05", "model": "builtin", "revision": "tiny@1",
        "dtype": "float32", "device": "cpu", "analysis": "sums", "capability": "sums", "fingerprint": "f" * 64,
        "loss": "aligned", "prompt_style": "raw", "prompt": "2 + 2?", "read": "Question: 2 + 2?\nAnswer:",
        "special_tokens": True, "prompt_tokens": 9, "answer": "4", "sampling": Sampling(seed=3), "lanes": lanes,
        "seconds": 2.5, "versions": {"python": "3"},
    }  # fmt: skip
    return Comparison(**{**known, **more})


PROJECTED = lane(
    "Projected", [" 4", ".", "\n"], spec=LaneSpec(rank="8"), capability="sums", d_kv=16,
    ranks={"layer 1 key": 8, "layer 1 value": 8, "layer 2 key": 8, "layer 2 value": 7}, capped=("layer 2 value",),
)  # fmt: skip
TWO = comparison(lane("Raw", [" 4", ",", " yes"]), PROJECTED)

TUNED = lane(
    "Distilled (SPD)", [" 5"], spec=LaneSpec(kind="distilled", adapter="run/spd"),
    adapter=AdapterFacts(ref="run/spd", name="SPD", capability="sums", base="builtin", revision="tiny@1",
                         fingerprint="0123456789abcdef", created="2026-01-02T03:04:05"),
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPD_HOME", str(tmp_path))
    monkeypatch.setattr(texts, "RECORDED", tmp_path / "recorded")
    return tmp_path


def test_a_record_comes_back_from_disk_as_it_was(home: Path) -> None:
    odd = comparison(lane("Raw", [HOSTILE, "é", "\x00"]), PROJECTED, grid=Grid(ranks=("8",), strengths=(1.0,)))
    path = texts.save_comparison(odd)
    assert path == home / "texts" / f"{odd.id}.json"
    assert texts.load_comparison(odd.id) == odd
    assert [found.name for found in path.parent.iterdir()] == [path.name], "nothing temporary is left"


def test_results_from_before_distilled_lanes_are_read(home: Path) -> None:
    path = texts.save_comparison(TWO)
    record = json.loads(path.read_text())
    assert record["format"] == 4
    record["format"] = 1
    for one in record["lanes"]:
        spec = one["spec"]
        assert not spec["complement"]
        assert not spec["adapter"]
        one["spec"] = {
            "kind": {"none": "raw", "capability": "projected"}[spec["of"]], "analysis": spec["capture"],
            **{name: spec[name] for name in ("rank", "strength", "kinds", "layers", "seed")},
        }  # fmt: skip
        del one["adapter"]
    path.write_text(json.dumps(record))
    assert texts.load_comparison(TWO.id).lanes == TWO.lanes


def test_a_distilled_lane_comes_back_with_what_tuned_it(home: Path) -> None:
    texts.save_comparison(comparison(TWO.lanes[0], TUNED))
    assert texts.load_comparison(TWO.id).lanes[1] == TUNED
    for kind, adapter in (("distilled", ""), ("raw", "run/spd")):
        with pytest.raises(ValueError, match="a distilled one needs it, raw none"):
            LaneSpec(kind=kind, adapter=adapter)  # type: ignore[arg-type]


def test_infinite_numbers_survive(home: Path) -> None:
    token = Token(id=1, text="a", logprob=float("-inf"), entropy=0.0, kl=float("inf"))
    texts.save_comparison(comparison(lane("Raw", [], tokens=(token,))))
    assert texts.load_comparison(TWO.id).lanes[0].tokens == (token,)


def test_ids_are_listed_newest_first_then_recorded_ones(home: Path) -> None:
    for name in ("20260101-000000-aaaa", "20260301-000000-bbbb"):
        texts.save_comparison(TWO.model_copy(update={"id": name}))
    texts.save_comparison(TWO.model_copy(update={"id": "arithmetic"}), texts.RECORDED)
    (home / "texts" / ".half.json").write_text("{")
    assert texts.saved_ids() == ["20260301-000000-bbbb", "20260101-000000-aaaa", "arithmetic"]
    assert texts.load_comparison("arithmetic").recorded
    assert not texts.load_comparison("20260101-000000-aaaa").recorded
    texts.remove_comparison("20260101-000000-aaaa")
    with pytest.raises(InputError, match="nothing was deleted"):
        texts.remove_comparison("arithmetic")


@pytest.mark.parametrize("name", ["../secret", "a/b", "", ".hidden", "nothing-there"])
def test_unknown_and_leading_elsewhere_is_refused(home: Path, name: str) -> None:
    with pytest.raises(InputError):
        texts.load_comparison(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "holds no valid result"),
        (lambda text: "[]", "holds no valid result"),
        (lambda text: "", "holds no valid result"),
        (lambda text: json.dumps({**json.loads(text), "lanes": []}), "holds no valid result"),
        (lambda text: json.dumps({**json.loads(text), "sampling": {"temperature": -1}}), "temperature -1"),
        (lambda text: json.dumps({**json.loads(text), "grid": {"ranks": ["4"], "strengths": [1, 0.5]}}), "no valid"),
        (lambda text: json.dumps({**json.loads(text), "id": 'x"""; print()'}), "under another name"),
        (lambda text: json.dumps({**json.loads(text), "format": 99}), "newer SPD Lab \\(format 99\\)"),
    ],
)
def test_damaged_files_are_a_sentence(home: Path, change: Any, message: str) -> None:
    path = texts.save_comparison(TWO)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message):
        texts.load_comparison(TWO.id)


def test_means() -> None:
    raw = TWO.lanes[0]
    assert (raw.mean_logprob, raw.mean_other_logprob, raw.mean_kl) == (-1.0, -2.0, 0.25)
    assert raw.text == " 4, yes"
    empty = lane("Raw", [])
    assert empty.mean_logprob != empty.mean_logprob, "NaN: there is nothing to average"


def test_labels_say_what_sets_lanes_apart() -> None:
    base = LaneSpec(rank="96")

    def but(**changes: Any) -> LaneSpec:
        return base.model_copy(update=changes)

    assert labels([RAW, base], {}) == ["Raw", "Projected"]
    assert labels([RAW, base, but(rank="8"), but(of="random")], {}) == [
        "Raw", "Projected, rank 96", "Projected, rank 8", "Random subspace"
    ]  # fmt: skip
    assert labels([base, but(strength=0.5, capture="b")], {"": "sums", "b": "code"}) == [
        "Projected, sums, α 1", "Projected, code, α 0.5"
    ]  # fmt: skip
    assert labels([base, but(kinds=("key",))], {}) == ["Projected, keys and values", "Projected, keys only"]
    assert labels([RAW, RAW], {}) == ["Raw (1)", "Raw (2)"]


def test_distilled_lanes_are_told_apart_by_arm_and_run() -> None:
    one, two, three = (LaneSpec(kind="distilled", adapter=ref) for ref in ("a/spd", "b/spd", "a/psr"))
    names = {"a/spd": "SPD", "b/spd": "SPD", "a/psr": "PSR", "a/ssd": "SSD", "a/apple": "SSD"}
    assert labels([RAW, one, three], {}, names) == ["Raw", "Distilled (SPD)", "Distilled (PSR)"]
    assert labels([one, two, three], {}, names) == ["Distilled (SPD), a", "Distilled (SPD), b", "Distilled (PSR)"]
    same = [LaneSpec(kind="distilled", adapter=ref) for ref in ("a/ssd", "a/apple")]
    assert labels(same, {}, names) == ["Distilled (SSD), ssd", "Distilled (SSD), apple"]
    assert labels([LaneSpec(), LaneSpec(adapter="a/spd")], {}, names) == [
        "Projected, not distilled", "Projected, distilled (SPD)"
    ]  # fmt: skip


def test_what_is_mixed_in_a_sentence(home: Path) -> None:
    gains = SiteGains(layer=2, kind="value", directions=((1, 0.0), (3, 2.0)))
    mixed = PROJECTED.model_copy(update={"spec": LaneSpec(rank="8", strength=0, gains=(gains,))})
    assert projection_sentence(mixed, TWO) == (
        "directions of sums multiplied: layer 2 values, d1 × 0, d3 × 2; everything else as it is, at all 9 prompt "
        "tokens and 3 generated ones"
    )
    beside = mixed.model_copy(update={"spec": LaneSpec(rank="8", gains=(gains,), of="random", seed=5)})
    assert projection_sentence(beside, TWO) == (
        "random directions (seed 5) multiplied: layer 2 values, d1 × 0, d3 × 2; all other sites projected into rank 8, "
        "with strength 1, at all 9 prompt tokens and 3 generated ones"
    )
    texts.save_comparison(comparison(TWO.lanes[0], mixed))
    assert texts.load_comparison(TWO.id).lanes[1] == mixed
    verdict = comparison_verdict(comparison(*TWO.lanes, mixed))
    alone = comparison_verdict(TWO).removeprefix("In this sample ")
    assert verdict.endswith(alone), "a mix is no control of a projection"


def test_what_a_distilled_lane_is_in_a_sentence() -> None:
    model = "the model fine-tuned on its own text, SPD (arm spd of run run, adapter 0123456789ab on tiny@1)"
    assert projection_sentence(TUNED, TWO) == f"nothing is projected: {model}"
    both = PROJECTED.model_copy(update={"adapter": TUNED.adapter})
    assert projection_sentence(both, TWO) == f"{projection_sentence(PROJECTED, TWO)}; in {model}"


def test_what_is_projected_in_a_sentence() -> None:
    assert projection_sentence(TWO.lanes[0], TWO) == "nothing is projected: the untouched model"
    assert projection_sentence(TWO.lanes[1], TWO) == (
        "keys and values of layers 1, 2 into 7 to 8 of 16 directions of sums, with strength 1, at all 9 prompt tokens "
        "and 3 generated ones; fewer at layer 2 value, which has no more that are not zero"
    )
    still = PROJECTED.model_copy(update={"spec": LaneSpec(strength=0.0)})
    assert "untouched" in projection_sentence(still, TWO)
    assert "seed 5" in projection_sentence(PROJECTED.model_copy(update={"spec": LaneSpec(of="random", seed=5)}), TWO)


def test_characters_that_act_on_others_are_shown_as_escapes() -> None:
    assert (
        shown("a\x1b[31m\u202eb\u2066c\ufeff\n\t👩\u200d💻é")
        == "a⟨U+001B⟩[31m⟨U+202E⟩b⟨U+2066⟩c⟨U+FEFF⟩\n\t👩\u200d💻é"
    )


def test_how_a_text_begins() -> None:
    assert [opening(text, 5) for text in ("", " \n", "\n one\ntwo", "123456", "\u202ea")] == [
        "", "", "one", "1234…", "⟨U+2…"
    ]  # fmt: skip


def test_the_divergence_is_marked_where_the_tokens_differ() -> None:
    assert report.lane_html(TWO.lanes[0], TWO) == f'<span class="same"> 4</span>{FORK}<span class="new">, yes</span>'
    same = comparison(lane("Raw", ["a"]), lane("Projected", ["a"]))
    assert report.lane_html(same.lanes[1], same) == "a"
    longer = comparison(lane("Raw", ["a"]), lane("Projected", ["a", " b"]))
    assert report.lane_html(longer.lanes[0], longer) == f'<span class="same">a</span>{FORK}'
    assert report.lane_html(longer.lanes[1], longer) == f'<span class="same">a</span>{FORK}<span class="new"> b</span>'


def test_a_difference_that_cannot_be_seen_is_named() -> None:
    two = comparison(lane("Raw", ["a", "\n\n", "b"]), lane("Projected", ["a", "\n", "b"]))
    assert report.divergence_sentence(two.lanes[1], two) == "differs from Raw at token 2 (in white space)"
    seen = comparison(lane("Raw", ["a", "\n\n", "b"]), lane("Projected", ["a", " b"]))
    assert report.divergence_sentence(seen.lanes[1], seen) == "differs from Raw at token 2"


def test_a_text_is_marked_as_new_where_nearly_all_its_words_would_be() -> None:
    first = lane("Raw", [" 6", " x", " 12", " is", " 64", ", I", " think"])
    other = lane("Projected", [" 6", " Here", " is", " a", " paragraph", " of", " other", " words"])
    apart = comparison(first, other)
    assert report.lane_html(other, apart) == (
        f'<span class="same"> 6</span>{FORK}<span class="new"> Here is a paragraph of other words</span>'
    )
    near = comparison(first, lane("Projected", [" 6", " x", " 13", " is", " 64", ", I", " think"]))
    assert report.lane_html(near.lanes[1], near) == f'<span class="same"> 6 x</span>{FORK} <ins>13</ins> is 64, I think'


def test_a_lane_that_was_never_written_is_not_called_degenerate() -> None:
    assert report.degenerate_reason(lane("x", [], finish="stopped")) == ""
    assert report.degenerate_reason(lane("x", ["\n"], finish="stopped")) == "", "stopped before its first word"
    assert report.degenerate_reason(lane("x", [], finish="eos")) == "empty"


def test_a_sweep_fills_its_grid() -> None:
    with pytest.raises(ValueError, match="do not fill"):
        comparison(lane("Raw", []), grid=Grid(ranks=("4", "8"), strengths=(1.0,)))
