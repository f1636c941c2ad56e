"""What a recipe will cost on machines that nobody has measured: rates from what a processor does in a second.

A run on one machine is foretold by rates that earlier runs have measured (`costs.py`); this derives such rates for
another model, another machine and many of them. Imports no torch.
"""

import math

from spd_core.models.families import ModelCard
from spd_core.recipes.distill import Recipe, plan
from spd_core.records import Record
from spd_core.runs.costs import START, Rates, Sizes, adapter_bytes, cost_of
from spd_core.runs.remaining import expected_seconds

_ROW_BYTES = 420
"""Of a corpus row besides its tokens: its id, its prompt and the names of its fields."""
_TOKEN_BYTES = 10
"""Of a written token: its id, and its characters."""
_USED = 0.92
"""Share of its memory that a GPU gives to weights, keys and values."""
_TALK = 0.9
"""Share of its rate that a GPU keeps where several compute one copy of a model, or one step, together."""


class Machine(Record):
    """What one GPU (or processor) does; several are several of these.

    Attributes:
        flops: floating-point operations a second that products of the model's size reach, not what a data sheet says.
        bandwidth: bytes a second at which weights are read while few tokens are written.
        memory: bytes for weights, caches and gradients.
        itemsize: bytes of a weight.
        disk: bytes a second at which weights are loaded.
        source: where these come from.
    """

    flops: float
    bandwidth: float
    memory: float
    itemsize: int
    disk: float = 1e9
    source: str


H100 = Machine(
    flops=0.4 * 989e12,
    bandwidth=0.6 * 3.35e12,
    memory=80e9,
    itemsize=2,
    source="data sheet of an H100 SXM: 40% of its bfloat16 operations, 60% of its bandwidth; not measured",
)


class Large(Record):
    """A model as far as its cost goes.

    Attributes:
        parameters: all of them, the embedding among them.
        lowest: of the layers that are captured; below it nothing is differentiated.
        memory: bytes of a copy at work (see `distill/memory.py`), the keys and values of what it writes left out.
    """

    card: ModelCard
    parameters: float
    lowest: int
    memory: float


class Scaled(Record):
    """What a recipe costs on so many GPUs.

    Attributes:
        copies: of the model that work side by side while text is written; each on `gpus_a_copy`.
        start: seconds until the model is loaded, by the run and by the engine that writes.
        seconds: of each kind of stage, all of its times together.
        memory: bytes that each GPU holds.
        disk: bytes of corpora, captures, adapters, checkpoints, and the folded model that a vLLM serves: of one arm at
            a time.
    """

    gpus: int
    gpus_a_copy: int
    copies: int
    start: float
    seconds: dict[str, float]
    memory: float
    disk: float

    @property
    def whole(self) -> float:
        """Seconds of everything, the start among it."""
        return self.start + sum(self.seconds.values())


def rates_on(machine: Machine, model: Large, *, tokens: float, written: float, rows: int) -> Rates:
    """How fast one machine goes through each stage of a recipe.

    Counted are products with weights, 2 operations a parameter and token: once forward; backward to the activations
    once more, in a capture down to the lowest layer that is captured and in a LoRA training through all. A step of
    writing takes as long as reading all weights and caches once, or as its products, whichever is longer.

    Args:
        tokens: of an example, or of a prompt.
        written: new tokens of a completion.
        rows: that are written at a time.
    """
    card = model.card
    backward = (card.layers - model.lowest) / card.layers
    example = 2 * model.parameters * tokens * (1 + backward)
    cache = rows * (tokens + written / 2) * _cached(card, machine)
    step = max(
        (model.parameters * machine.itemsize + cache) / machine.bandwidth, 2 * model.parameters * rows / machine.flops
    )
    return Rates(
        capture=machine.flops / example,
        corpus=rows / step,
        train=machine.flops / (4 * model.parameters),
        source=machine.source,
    )


def _cached(card: ModelCard, machine: Machine) -> float:
    """Bytes of a token's keys and values."""
    return 2 * card.layers * card.d_kv * machine.itemsize


def at_scale(
    recipe: Recipe, model: Large, sizes: Sizes, machine: Machine, gpus: int, rows: int | None = None
) -> Scaled:
    """What a distillation costs on so many GPUs; an upper bound, as `cost_of`.

    Text is written by copies of the model side by side, each on as few GPUs as hold it. A capture is shared likewise;
    within a copy one GPU works at a time. A training is of all GPUs together.

    Args:
        rows: that a copy writes at a time, if they fit; those of the recipe by default, and many more by an engine.
    """
    card, room = model.card, _USED * machine.memory
    a_copy = 2 ** max(0, math.ceil(math.log2(model.memory / room)))  # as engines and attention heads are divided
    cache = (sizes.prompt_tokens + recipe.corpus.max_new_tokens) * _cached(card, machine)  # of a row
    at_once = max(1, min(rows or recipe.corpus.batch_size, int((a_copy * room - model.memory) / cache)))
    copies = max(1, gpus // a_copy)
    talk = 1.0 if a_copy == 1 else _TALK
    one = rates_on(machine, model, tokens=sizes.prompt_tokens, written=recipe.corpus.max_new_tokens, rows=at_once)
    rates = Rates(
        capture=one.capture * copies,
        corpus=one.corpus * copies * a_copy * talk,
        train=one.train * max(gpus, a_copy) * (_TALK if gpus > 1 else 1.0),
        source=machine.source,
    )
    each = expected_seconds(recipe, sizes, rates)
    seconds: dict[str, float] = {}
    for stage, _, _ in plan(recipe):
        seconds[stage] = seconds.get(stage, 0.0) + each[stage]
    weights = round(model.parameters * machine.itemsize)
    cost = cost_of(recipe, sizes.prompts, sizes.prompt_tokens, sizes.examples, rates, card, weights)
    written = min(sizes.prompts, recipe.corpus.prompts or sizes.prompts) * recipe.corpus.samples * cost.corpora
    captured = cost.captures * 2 * len({model.lowest, card.layers - 1}) * card.d_kv * card.d_kv * 4
    adapter = adapter_bytes(card, recipe.train.lora_r, recipe.train.lora_targets)
    return Scaled(
        gpus=gpus,
        gpus_a_copy=a_copy,
        copies=copies,
        start=START + (1 if recipe.corpus.writer.here else 2) * weights / machine.disk,
        seconds=seconds,
        memory=(model.memory + at_once * cache) / a_copy,
        disk=written * _ROW_BYTES
        + cost.corpus_tokens * _TOKEN_BYTES
        + captured
        + (cost.disk or 0)
        + 2 * adapter,  # the optimizer's two moments of the arm that is trained
    )
