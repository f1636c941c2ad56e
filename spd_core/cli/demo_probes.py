"""Records the logit lenses, causal checks and right texts that Token attributions shows before any model is loaded."""

import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from spd_core.attribution.causal import causal_check
from spd_core.attribution.lens import logit_lenses, random_strengths
from spd_core.attribution.recorded import ProbeSettings, RecordedProbes, save_probes
from spd_core.attribution.results import ONLY, ONLY_RANDOM, RANDOM_REMOVED, REMOVED, UNCHANGED, CausalCheck
from spd_core.attribution.right_texts import right_texts
from spd_core.cli.demo import DIRECTIONS
from spd_core.data.capability import builtin_names
from spd_core.models.families import Site
from spd_core.models.loading import LanguageModel
from spd_core.progress import Progress, Tell
from spd_core.storage import command_line, versions
from spd_core.subspace.analysis import Analysis
from spd_core.subspace.spectrum import Floats
from spd_core.subspace.store import load_capture

CHECKED = 4
"""Leading directions whose causal check is recorded, of the keys and the values of the last layer."""
SEED = 0
"""Of the first random direction, as in the app."""


def record_probes(
    lm: LanguageModel, out: Path, tell: Tell, names: Sequence[str] | None = None, checked: int = CHECKED
) -> dict[str, str]:
    """Compute the lenses of all value sites and the checks of the last layer, of the recorded captures in `out`.

    Args:
        names: of the captures; None takes those of all built-in capabilities.
        checked: leading directions whose check is recorded.

    Returns:
        the folder of each capture's.

    Raises:
        InputError: a capture is not in `out`.
        ModelError: it is of another model.
        StorageError: the disk refuses.
    """
    written: dict[str, str] = {}
    names = builtin_names() if names is None else names
    for at, name in enumerate(names):
        tell(Progress(at / len(names), 1, f"Asking about directions of {name}"))
        folder = out / "probes" / name
        save_probes(probed(lm, load_capture(out / "captures" / name), checked), folder)
        written[f"{name}: lenses and checks"] = str(folder)
    tell(Progress(1.0, 1, "Asking about directions"))
    return written


def probed(lm: LanguageModel, analysis: Analysis, checked: int) -> RecordedProbes:
    """The lenses and checks of one capture."""
    started = time.monotonic()
    last = [site for site in analysis.sites if site.layer == analysis.layers[-1]]
    checks = {site: [causal_check(lm, analysis, site, i, seed=SEED) for i in range(checked)] for site in last}
    seconds = (time.monotonic() - started) / (len(last) * checked)
    values = [site for site in analysis.sites if site.kind == "value"]

    def leading(site: Site) -> Floats:
        return analysis.sites[site].vectors[:, :DIRECTIONS].T

    return RecordedProbes(
        _settings(analysis, checks[last[0]][0], seconds, right_texts(lm, analysis.examples)),
        {
            site.name: tuple(logit_lenses(lm, site, leading(site), random=random_strengths(lm, site, seed=SEED)))
            for site in values
        },
        {site.name: np.stack([_passes(check) for check in found]) for site, found in checks.items()},
    )


def _settings(analysis: Analysis, check: CausalCheck, seconds: float, right: dict[str, float]) -> ProbeSettings:
    record = analysis.provenance
    return ProbeSettings(
        capture=analysis.identity,
        model=record.revision,
        dtype=record.dtype,
        device=record.device,
        recorded=date.today().isoformat(),
        seed=SEED,
        examples=tuple(example.id for example in check.examples),
        seconds=round(seconds, 1),
        command=command_line(),
        versions=versions(),
        right=right,
    )


def _passes(check: CausalCheck) -> Floats:
    """[3 + 2 · draws, n] log p of every pass, in the order that `check_of` reads."""
    pairs = zip(check.draws[RANDOM_REMOVED], check.draws[ONLY_RANDOM], strict=True)
    own = [check.logp[name] for name in (UNCHANGED, REMOVED, ONLY)]
    return np.stack([*own, *(row for pair in pairs for row in pair)]).astype(np.float32)
