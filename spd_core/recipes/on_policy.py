"""Settings of the arms that learn on what the student writes itself. Imports no torch: pages write it, too."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from spd_core.recipes.writer import LOCAL_WRITER, Writer
from spd_core.records import Request

Method: TypeAlias = Literal["sft", "on-policy", "omniopd"]
"""How an arm learns: from a corpus written before; from the teacher's probabilities on its own text; from the
teacher's text beside chunks of its own."""

PUBLISHED_CHUNKS: Mapping[str, int] = {"chunks": 10, "chunk_tokens": 50, "samples": 10}
"""M, C and N of the paper, which reports that chunks of 25 tokens fail: 24.48 beside 69.08."""
SMALL_CHUNKS: Mapping[str, int] = {"chunks": 2, "chunk_tokens": 8, "samples": 4}
"""For answers of some twenty tokens and for minutes on two cores: not what was published."""


class RolloutSettings(Request):
    """How the student writes in training; `corpus.max_new_tokens` bounds it.

    Attributes:
        divergence: of the arm on-policy, between the student's distribution and the teacher's: 0 is KL(teacher ‖
            student), 1 is KL(student ‖ teacher), between them Jensen and Shannon's; TRL's own default.
        max_tokens: that an arm and its teacher write in a round, after which its training ends with the step that it is
            at: so arms can be compared at equal numbers of written tokens. None trains all epochs.
    """

    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    divergence: float = Field(default=1.0, ge=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)


class ChunkSettings(Request):
    """OmniOPD's own. Published are M, C and N; the rest is not, and recorded with each run.

    Attributes:
        chunks: M, the most chunks of a rollout.
        chunk_tokens: C, tokens of a chunk.
        samples: N, continuations that the teacher writes for a chunk.
        prior: α, the weight of what the student itself believes.
        anchor: β, the weight of the divergence from the untouched model on all other tokens.
        select: where chunks start: at the peaks of the student's entropy, or anywhere (a control).
        temperature, top_p: of the teacher.
        divide_by: what the sum over a step is divided by; the learning rate depends on it.
        teacher: the model that the arm omniopd-model asks, by name or folder; or `server`, where one serves it.
        accept_short: train although more than half of the rollouts are shorter than a chunk.
    """

    chunks: int = Field(default=PUBLISHED_CHUNKS["chunks"], ge=1)
    chunk_tokens: int = Field(default=PUBLISHED_CHUNKS["chunk_tokens"], ge=1)
    samples: int = Field(default=PUBLISHED_CHUNKS["samples"], ge=1)
    prior: float = Field(default=1.0, ge=0)
    anchor: float = Field(default=0.1, ge=0)
    select: Literal["entropy", "random"] = "entropy"
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    divide_by: Literal["tokens", "rows"] = "tokens"
    teacher: str = ""
    server: Writer = LOCAL_WRITER
    accept_short: bool = False

    @model_validator(mode="after")
    def _one_teacher(self) -> "ChunkSettings":
        if self.server.kind == "vllm":
            raise ValueError("server: a teacher behind a server is of kind openai, with its url and served_name")
        if self.teacher and not self.server.here:
            raise ValueError(f"teacher {self.teacher} and a server: name one of them")
        return self

    @property
    def names_a_teacher(self) -> bool:
        """Whether there is another model to ask."""
        return bool(self.teacher) or not self.server.here


def away_from_the_paper(chunks: ChunkSettings) -> list[str]:
    """What of the settings is not the paper's, each with what the paper reports of such a change, in its own benchmark
    (69.08 with all of it)."""
    found = []
    if chunks.chunk_tokens < PUBLISHED_CHUNKS["chunk_tokens"]:
        found.append(f"chunks of {chunks.chunk_tokens} tokens (the paper has 50, and 24.48 with 25)")
    elif chunks.chunk_tokens > PUBLISHED_CHUNKS["chunk_tokens"]:
        found.append(f"chunks of {chunks.chunk_tokens} tokens (the paper has 50)")
    if chunks.chunks != PUBLISHED_CHUNKS["chunks"]:
        found.append(f"at most {chunks.chunks} of them in a rollout (10)")
    if chunks.samples != PUBLISHED_CHUNKS["samples"]:
        found.append(f"{chunks.samples} continuations each (10)")
    if chunks.anchor == 0:
        found.append("no anchor to the untouched model (8.28 without it)")
    if chunks.prior != 1:
        found.append(f"prior {chunks.prior:g} (1; 67.52 with 0.1, 60.77 with 5, 68.63 without)")
    if chunks.select == "random":
        found.append("chunks anywhere (68.45 without the peaks of entropy)")
    return found


def chunks_that_fit(settings: Mapping[str, Any]) -> ChunkSettings:
    """For settings that say nothing of chunks: the paper's, or small ones where a rollout could not hold one of them.

    Args:
        settings: of a recipe, its `corpus` among them.
    """
    corpus = settings.get("corpus")
    fits = corpus is None or corpus.max_new_tokens >= PUBLISHED_CHUNKS["chunk_tokens"]
    return ChunkSettings() if fits else ChunkSettings.model_validate(SMALL_CHUNKS)
