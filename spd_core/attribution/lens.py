"""Explains a direction by tokens, with the model at hand: coordinates of any text, and a logit lens.

What needs no model, since the capture has kept it, is in `attribution/tables.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spd_core.attribution.results import Lens, LensToken
from spd_core.data.spans import Encoded
from spd_core.errors import InputError
from spd_core.models.families import AFTER_ATTENTION, FINAL_NORM, OUTPUT_PROJECTION, Site
from spd_core.models.loading import LanguageModel
from spd_core.subspace.spectrum import Floats

LONGEST_TEXT = 2048
"""Most tokens of a text of the user's: as many can be drawn and read one by one."""


# --- any text ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ReadText:
    """A text as the model has read it.

    Attributes:
        encoded: its tokens; no loss is taken on any.
        special_ids: the ids that stand for no text of their own (begin, end, padding …).
        activations: [T, d_kv] keys or values of each site, float32.
    """

    encoded: Encoded
    special_ids: frozenset[int]
    activations: Mapping[Site, Floats]

    def coordinates(self, site: Site, direction: Floats) -> Floats:
        """[T] k_t·u or v_t·u for a direction `[d_kv]` of a site."""
        along: Floats = self.activations[site].astype(np.float64) @ np.asarray(direction, np.float64)
        return along


def read_text(lm: LanguageModel, text: str, sites: Sequence[Site]) -> ReadText:
    """Tokenize a text as it stands (the tokenizer's default special tokens are added) and read keys and values.

    Raises:
        InputError: the text is empty, or longer than the model's context or `LONGEST_TEXT`.
    """
    longest = min(LONGEST_TEXT, lm.card.context)
    encoding = lm.tokenizer(text, return_offsets_mapping=True, verbose=False)
    ids = tuple(encoding["input_ids"])
    if not text or not ids:
        raise InputError("the text is empty; type at least one character")
    if len(ids) > longest:
        raise InputError(f"the text has {len(ids)} tokens, and at most {longest} are read here; shorten it")
    offsets = tuple((int(start), int(end)) for start, end in encoding["offset_mapping"])
    found = {site: rows.cpu().numpy() for site, rows in activations(lm, ids, sites).items()}
    special = frozenset(int(token) for token in lm.tokenizer.all_special_ids)
    return ReadText(Encoded("text", text, ids, offsets, ()), special, found)


def activations(lm: LanguageModel, ids: Sequence[int], sites: Sequence[Site]) -> dict[Site, Tensor]:
    """[T, d_kv] float32 (float64 of a float64 model) keys or values of every token at the given sites.

    As the module gives them: bias included, before any k-norm and RoPE. No logits are computed.
    """
    outputs: dict[Site, Tensor] = {}
    with lm.lock, torch.inference_mode(), ExitStack() as stack:
        for site in sites:
            stack.enter_context(_columns_into(outputs, site, lm))
        lm.model.get_decoder()(input_ids=torch.tensor([list(ids)], device=lm.device), use_cache=False)
    return outputs


@contextmanager
def _columns_into(outputs: dict[Site, Tensor], site: Site, lm: LanguageModel) -> Iterator[None]:
    """Keep what the site's module gives for the first text of the batch."""

    def keep(_module: Any, _args: Any, output: Tensor) -> None:
        rows = output[0][:, list(site.columns)]  # [T, d_kv]
        outputs[site] = rows.to(torch.promote_types(rows.dtype, torch.float32))

    handle = lm.model.get_submodule(site.module).register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


# --- logit lens ----------------------------------------------------------------------------------------------


DRAWS = 20
"""Random directions beside a lens: with none of them as strong, chance would do so one time in 21."""


def logit_lenses(
    lm: LanguageModel,
    site: Site,
    directions: Floats | Tensor,
    top: int = 12,
    random: tuple[float, ...] = (),
) -> list[Lens]:
    """Tokens that value directions `[n, d_kv]` promote and suppress, direction by direction.

    Args:
        random: of `random_strengths`, to stand beside each.

    Raises:
        InputError: a key site: keys decide where attention looks, and are never written to the residual stream.
    """
    scores = lens_scores(lm, site, directions)  # [n, vocabulary]
    high, low = scores.topk(top), (-scores).topk(top)
    ends = zip(high.indices, high.values, low.indices, -low.values, strict=True)
    return [Lens(_lens_tokens(lm, up, most), _lens_tokens(lm, down, least), random) for up, most, down, least in ends]


def random_strengths(lm: LanguageModel, site: Site, draws: int = DRAWS, seed: int = 0) -> tuple[float, ...]:
    """The largest |score| of each of some random unit directions of a value site: how strong luck is.

    Raises:
        InputError: a key site.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(draws, site.d_kv, generator=generator, dtype=torch.float64)
    largest = lens_scores(lm, site, drawn / drawn.norm(dim=1, keepdim=True)).abs().amax(1)  # [draws]
    return tuple(round(score, 4) for score in largest.tolist())


def lens_scores(lm: LanguageModel, site: Site, directions: Floats | Tensor) -> Tensor:
    """[n, vocabulary] logits of a residual stream that holds nothing but a value direction, less their mean.

    The slice of each KV head goes through W_O of every query head of its group, as if each of them looked at one
    token alone (attention 1), through the norm after the attention where the family has one (Gemma 2 and 3, OLMo 2),
    then through the final norm and the unembedding (nostalgebraist, 2020, "logit lens").
    Half the difference between u and −u is taken, so that biases of norm and unembedding cancel. The mean is
    subtracted because a constant added to all logits changes no probability: above 0 is promoted.

    Approximate: real attention is below 1 and differs between heads; later layers, scales of the residual stream
    and of the logits, and soft-capping are left out.

    Args:
        directions: [n, d_kv], all of one value site.

    Raises:
        InputError: a key site.
    """
    if site.kind == "key":
        raise InputError(f"{site.label}: keys are not written to the residual stream; choose a value direction")
    kind = lm.card.model_type
    decoder = lm.model.get_decoder()
    path = site.module.rpartition(".")[0]
    attention, layer = lm.model.get_submodule(path), lm.model.get_submodule(path.rpartition(".")[0])
    after = getattr(layer, AFTER_ATTENTION[kind]) if kind in AFTER_ATTENTION else torch.nn.Identity()
    output = getattr(attention, OUTPUT_PROJECTION.get(kind, "o_proj"))
    norm, head = getattr(decoder, FINAL_NORM.get(kind, "norm")), lm.model.get_output_embeddings()
    u = torch.as_tensor(np.asarray(directions), dtype=lm.dtype, device=lm.device)  # [n, d_kv]
    by_head = u.view(len(u), site.heads, -1)
    by_query = by_head.repeat_interleave(lm.card.heads // site.heads, 1).flatten(1)  # [n, heads · head_dim]
    both = torch.stack([by_query, -by_query])
    with lm.lock, torch.inference_mode():
        written = output(both)  # [2, n, hidden]
        residual = (written - written.flip(0)) / 2  # the bias of W_O cancels: ± what the direction itself writes
        logits = head(norm(after(residual)))  # [2, n, vocabulary]
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    scores: Tensor = (precise[0] - precise[1]) / 2
    return scores - scores.mean(1, keepdim=True)


def _lens_tokens(lm: LanguageModel, ids: Tensor, scores: Tensor) -> tuple[LensToken, ...]:
    pairs = zip(ids.tolist(), scores.tolist(), strict=True)
    return tuple(LensToken(token, _token_text(lm, token), score) for token, score in pairs)


def _token_text(lm: LanguageModel, token: int) -> str:
    """The text of one token with its leading space, which tokenizers of the SentencePiece kind drop at a start."""
    text: str = lm.tokenizer.decode([token])
    piece = lm.tokenizer.convert_ids_to_tokens(token)  # None for ids beyond the vocabulary, which some models have
    return f" {text}" if piece and piece.startswith("▁") and not text.startswith(" ") else text
