"""What quantized weights do to gradients, spectra and subspaces: the same examples, with weights packed once more.

The packaged models come quantized and are unpacked to float32; what they were before is not at hand. So the weights of
the linear maps are packed once more, as a GGUF would (embeddings stay), or moved by noise of the same size, which no
grid favours. What that changes stands beside what other examples change.

python -m benchmarks.quantization --model gemma
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from benchmarks.machine import describe

if TYPE_CHECKING:
    from spd_core.data.spans import Encoded
    from spd_core.models.families import Site
    from spd_core.models.loading import LanguageModel
    from spd_core.subspace.spectrum import Floats

    Rows = dict[Site, Floats]  # [tokens, d_kv] gradients of each site

FORMATS = ("F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
"""Those that gguf can write, from the least to the most lossy; a model is on the grid of its own GGUF's already."""
NOISES = ("Q8_0", "Q5_0", "Q4_0")


@dataclass(frozen=True)
class Seen:
    """Gradients with one set of weights.

    Attributes:
        rows: [tokens, d_kv] of each site, the examples one after the other.
        loss: mean −log p of the examples, in nats.
        moved: ‖W' − W‖ ÷ ‖W‖ over all linear maps that were changed.
    """

    rows: "Rows"
    loss: float
    moved: float


def main(
    model: Annotated[str, typer.Option(help="builtin, gemma, a Hugging Face id, or a local folder")] = "builtin",
    capability: str = "arithmetic",
    examples: int = 50,
    layers: str = "middle,last",
) -> None:
    """Print two tables: by format, averaged over sites, and site by site for the most lossy one."""
    from spd_core.data import catalog, spans
    from spd_core.models import loading

    lm = loading.load(model, dtype="float32")
    found = catalog.find_capability(capability).limited(examples)
    encoded = spans.encode_all(found.examples, found.settings, lm.tokenizer).examples
    sites = lm.sites_at(loading.parse_layers(layers, lm.card.layers))
    print(describe(), f"\n{lm.revision}, {capability}, {len(encoded)} examples, d_kv {lm.card.d_kv}, layers {layers}\n")
    as_is = _seen(lm, encoded, sites, None)
    halves = [_of(lm, encoded[start::2], sites) for start in (0, 1)]
    print(
        "| weights | moved | loss (nats) | cosine of the gradients | subspace shared at d/2 | at 8 | energy kept | "
        "r at 90% |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print(_line("as they are", as_is, as_is, sites), flush=True)
    for name in FORMATS:
        last = _seen(lm, encoded, sites, _packed(name))
        print(_line(f"packed as {name}", as_is, last, sites), flush=True)
    for name in NOISES:
        noisy = _seen(lm, encoded, sites, _noise(_moved_at_random(name)))
        print(_line(f"noise as large as {name} makes", as_is, noisy, sites), flush=True)
    print(_line("as they are, the other half of the examples", *halves, sites, same=False))
    chance = [r / lm.card.d_kv for r in (lm.card.d_kv // 2, 8)]
    print(f"| random subspaces | | | 0 | {chance[0]:.3f} | {chance[1]:.3f} | | |\n")
    print(f"| {FORMATS[-1]}, site by site | cosine | shared at d/2 | at 8 | energy kept |\n|---|---|---|---|---|")
    for site in sites:
        print(
            f"| {site.label} | "
            + " | ".join(f"{one:.4f}" for one in _compared(as_is.rows[site], last.rows[site]))
            + " |"
        )


# --- gradients -----------------------------------------------------------------------------------------------------


def _seen(
    lm: "LanguageModel",
    encoded: "Sequence[Encoded]",
    sites: "Sequence[Site]",
    change: "Callable[[Floats], Floats] | None",
) -> Seen:
    """The gradients while every linear map of the layers has changed weights; they are restored bit by bit."""
    import torch

    from spd_core.models.weights import overwrite, rewriting, weight_of

    linears = [path for path, module in lm.model.get_decoder().named_modules() if type(module) is torch.nn.Linear]
    prefix = next(path for path, module in lm.model.named_modules() if module is lm.model.get_decoder())
    apart, size = 0.0, 0.0
    with rewriting(lm, [f"{prefix}.{path}" for path in linears] if change else []) as modules:
        for path, module in modules.items():
            before = weight_of(module).numpy().copy()
            after = change(before) if change else before
            apart, size = apart + float(np.square(after - before).sum()), size + float(np.square(before).sum())
            overwrite(path, module.weight, torch.from_numpy(after))
        found = _of(lm, encoded, sites)
    return Seen(found.rows, found.loss, (apart / size) ** 0.5 if size else 0.0)


def _of(lm: "LanguageModel", encoded: "Sequence[Encoded]", sites: "Sequence[Site]") -> Seen:
    from spd_core.subspace.capture import batch_gradients

    rows: dict[Site, list[Floats]] = {site: [] for site in sites}
    losses = []
    for example in encoded:
        loss, gradients, _ = batch_gradients(lm, [example], sites)
        losses.append(float(loss[0]))
        for site in sites:
            rows[site].append(gradients[site][0].double().numpy())
    return Seen({site: np.concatenate(parts) for site, parts in rows.items()}, fmean(losses), 0.0)


def _packed(name: str) -> "Callable[[Floats], Floats]":
    """Packs and unpacks weights `[out, in]` as a GGUF does."""
    from gguf import GGMLQuantizationType, quants

    kind = GGMLQuantizationType[name]
    return lambda weights: quants.dequantize(quants.quantize(np.ascontiguousarray(weights), kind), kind)


def _moved_at_random(name: str) -> float:
    """‖W' − W‖ ÷ ‖W‖ of normal random weights packed in a format: the size of its errors where no grid was before."""
    weights = np.random.default_rng(1).standard_normal((256, 1024)).astype(np.float32)
    return float(np.linalg.norm(_packed(name)(weights) - weights) / np.linalg.norm(weights))


def _noise(moved: float) -> "Callable[[Floats], Floats]":
    generator = np.random.default_rng(0)

    def change(weights: "Floats") -> "Floats":
        noise = generator.standard_normal(weights.shape).astype(np.float32)
        changed: Floats = weights + noise * (moved * np.linalg.norm(weights) / np.linalg.norm(noise))
        return changed

    return change


# --- compared ------------------------------------------------------------------------------------------------------


def _compared(first: "Floats", second: "Floats", same: bool = True) -> tuple[float, float, float, float]:
    """How alike gradients `[tokens, d_kv]` are.

    Returns:
        cosine of the rows taken as one vector, where they are of the same tokens; what the subspaces of half the rank,
        and of 8 directions, share (mean cos²); how much of the first one's energy at half the rank the second's keeps.
    """
    from spd_core.subspace.spectrum import principal_angles

    half = first.shape[1] // 2
    cosine = float((first * second).sum() / np.linalg.norm(first) / np.linalg.norm(second)) if same else float("nan")
    bases = [_basis(rows) for rows in (first, second)]
    shared = [float((np.cos(principal_angles(*(u[:, :r] for u in bases))) ** 2).mean()) for r in (half, 8)]
    centred = first - first.mean(0)
    own, other = (float(np.square(centred @ u[:, :half]).sum()) for u in bases)
    return cosine, *shared, other / own


def _basis(rows: "Floats") -> "Floats":
    """[d_kv, d_kv] right singular vectors of centred rows, by SVD."""
    vectors: Floats = np.linalg.svd(rows - rows.mean(0), full_matrices=True)[2].T
    return vectors


def _line(name: str, first: Seen, second: Seen, sites: "Sequence[Site]", same: bool = True) -> str:
    from spd_core.subspace.spectrum import choose_rank

    found = [_compared(first.rows[site], second.rows[site], same) for site in sites]
    cosine, half, eight, kept = (fmean(column) for column in zip(*found, strict=True))
    rows = [second.rows[site] for site in sites]
    ranks = [choose_rank("energy:0.9", np.linalg.svd(g - g.mean(0), compute_uv=False))[0] for g in rows]
    told = f"{cosine:.4f}" if same else ""
    return (
        f"| {name} | {second.moved:.2%} | {second.loss:.3f} | {told} | {half:.3f} | {eight:.3f} | {kept:.4f} | "
        f"{', '.join(map(str, ranks))} |"
    )


if __name__ == "__main__":
    typer.run(main)
