"""Fine-tuned models in Side by side, without a browser: chosen, linked, lost."""

from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.jobs.captures import load_saved
from app.side_by_side import lanes
from app.ui import session
from spd_core.intervention.adapters import TENSORS, Adapter, Delta, save_adapter
from spd_core.intervention.cards import adapter_folder
from spd_core.models.loading import read_config
from spd_core.subspace.store import recorded_captures
from tests.app.side_by_side.test_page import finished, opened, write
from tests.app.test_pages import press, text_of
from tests.lora import a_card

pytestmark = pytest.mark.builtin


def test_a_distilled_model_writes_beside_the_untouched_one(empty_history: Path) -> None:
    at = opened()
    assert at.multiselect(key=session.DISTILLED).placeholder == "train one on Fine-tune"
    trained = [tuned(empty_history, run, "spd") for run in ("20261124-152000-a", "20261124-152000-b")]
    tuned(empty_history, "20261124-160000-c", "psr", revision="another")
    at.run()
    assert at.multiselect(key=session.DISTILLED).options == [
        f"SPD · arithmetic · 2026-11-24 15:20:00 · {ref[-7:]}" for ref in reversed(trained)
    ]  # fmt: skip
    at.multiselect(key=session.DISTILLED).set_value(trained).run()
    found = write(at, 4)
    assert [one.label for one in found.lanes[2:]] == [f"Distilled (SPD), {ref.split('/')[0]}" for ref in trained]
    assert found.is_read
    assert found.lanes[2].mean_kl > 1e-4
    assert "nothing is projected: the model fine-tuned on its own text, SPD (arm spd of run 2026" in text_of(at)
    assert "Settings have changed" not in text_of(at)
    at.pills(key=session.MORE_LANES).set_value([lanes.COMPLEMENT, lanes.RANDOM, lanes.KEYS]).run()
    assert "7 lanes are chosen and 6 fit; remove 1" in text_of(at)
    at.pills(key=session.MORE_LANES).set_value([]).run()
    adapter_folder(trained[0]).joinpath(TENSORS).unlink()
    finished(press(at, "Generate"))
    assert "copy the whole folder, or train again" in text_of(at)


def test_links_name_distilled_models_and_lost_ones_are_a_sentence(empty_history: Path) -> None:
    ref = tuned(empty_history, "20261124-152000-a", "spd")
    for link in (ref, "SPD · arithmetic · 2026-11-24 15:20:00", "SPD · arithmetic · 24 Nov 2026, 15:20"):
        app = opened(distilled=link)
        assert app.multiselect(key=session.DISTILLED).value == [ref]
        assert "not here" not in text_of(app)
    app = opened(distilled="../gone/spd")
    app.run()
    assert "distilled models that the link names are not here: ../gone/spd. They were deleted" in plainly(app)
    assert app.multiselect(key=session.DISTILLED).value == []
    assert not next(button for button in app.button if button.label == "Generate").disabled
    app.multiselect(key=session.DISTILLED).set_value([ref]).run()
    assert "not here" not in text_of(app)


def plainly(at: AppTest) -> str:
    return text_of(at).replace("*", "").replace("\u2060", "")


def tuned(home: Path, run: str, arm: str, **changes: Any) -> str:
    """A random adapter of the built-in model, as a run leaves it."""
    config = read_config("builtin")
    revision = load_saved(recorded_captures()[0]).provenance.revision
    known = {"run": run, "arm": arm, "capability": "arithmetic", "base": "builtin", "revision": revision}
    delta = Delta(torch.randn(2, config.hidden_size), torch.randn(192, 2), 1.0)
    card = a_card(None, **{**known, **changes})
    save_adapter(
        Adapter(card, {"model.layers.0.self_attn.v_proj": delta}), home / "runs" / run / "adapters" / arm, config
    )
    return card.ref
