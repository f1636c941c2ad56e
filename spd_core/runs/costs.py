"""What a recipe will cost, before it starts: tokens, minutes from rates that earlier runs have measured, disk.

Imports no torch: the page asks on every change.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from spd_core.data.capability import Capability
from spd_core.errors import InputError
from spd_core.models.families import BUILTIN, ModelCard
from spd_core.recipes.distill import ARMS, Recipe, Target, plan
from spd_core.recipes.writer import LOCAL_WRITER, Writer
from spd_core.records import Record
from spd_core.runs.events import StageBegun, StageProgress
from spd_core.runs.folder import Run, all_runs
from spd_core.runs.states import state_of


class Rates(Record):
    """How fast a model goes through each stage.

    Attributes:
        capture: examples a second.
        corpus: new tokens a second.
        train: tokens a second, prompts among them; scoring and looking after each epoch included.
        source: where and when it was measured.
    """

    capture: float
    corpus: float
    train: float
    source: str


BUILTIN_RATES = Rates(
    capture=7.3, corpus=41.0, train=54.0, source="the built-in model on another machine, with one of its two cores"
)
"""Preset quick, 24 November 2026; a job takes all cores but one."""
FASTEST = Rates(capture=1e3, corpus=1e5, train=1e6, source="what no machine surpasses")
START = 15.0
"""Seconds to start Python, import the engine and load a small model."""
CHARACTERS_PER_TOKEN = 3.6
"""Characters of a token, about, where no tokenizer is at hand."""


_WRITE_IN_TRAINING = {name for name, arm in ARMS.items() if arm.method != "sft"}


class Cost(Record):
    """An upper bound: completions are often shorter than allowed.

    Attributes:
        corpus_tokens: new tokens of all corpora, and `rollout_tokens` of all that students write in training.
        teacher_tokens: new tokens of those who write beside them.
        train_tokens: of all epochs of all arms.
        seconds: None where nothing was measured yet.
        disk: bytes of adapters, and of the checkpoint that a vLLM serves; None without the model's card.
    """

    corpora: int
    captures: int
    corpus_tokens: int
    rollout_tokens: int = 0
    teacher_tokens: int = 0
    train_tokens: int
    seconds: float | None
    disk: int | None


def cost_of(
    recipe: Recipe,
    prompts: int,
    prompt_tokens: float,
    examples: int,
    rates: Rates | None,
    card: ModelCard | None,
    weights: int = 0,
) -> Cost:
    """What all stages cost together.

    Args:
        prompts: how many the split has.
        prompt_tokens: mean length of a prompt.
        examples: how many calibration examples there are.
        weights: bytes of the model in the recipe's number format; 0 where that is not known.
    """
    prompts = min(prompts, recipe.corpus.prompts or prompts)
    arms = len(recipe.arms)
    rows = prompts * recipe.corpus.samples
    stages = [stage for stage, _, _ in plan(recipe)]
    corpora, captures = stages.count("corpus"), stages.count("capture") + stages.count("drift")
    captures += (
        sum(ARMS[arm].subspace == "contrast" for arm in recipe.arms) * recipe.rounds * len(recipe.capture.without)
    )
    corpus_tokens = corpora * rows * recipe.corpus.max_new_tokens
    train_tokens = round(arms * recipe.rounds * train_tokens_of_a_round(recipe, prompts, prompt_tokens))
    rollout_tokens, teacher_tokens = tokens_in_training(recipe, prompts)
    written = corpus_tokens + rollout_tokens + teacher_tokens
    examples = min(examples, recipe.capture.examples or examples)
    seconds = None
    if rates is not None:
        seconds = START + captures * examples / rates.capture + written / rates.corpus + train_tokens / rates.train
    disk = None
    if card is not None:
        disk = arms * recipe.rounds * 2 * adapter_bytes(card, recipe.train.lora_r, recipe.train.lora_targets)
        disk += weights * recipe.checkpoints_served
    return Cost(
        corpora=corpora,
        captures=captures,
        corpus_tokens=corpus_tokens,
        rollout_tokens=rollout_tokens,
        teacher_tokens=teacher_tokens,
        train_tokens=train_tokens,
        seconds=seconds,
        disk=disk,
    )


def tokens_in_training(recipe: Recipe, prompts: int) -> tuple[int, int]:
    """New tokens of all rollouts of all arms that learn on them, and of OmniOPD's teachers, at most."""
    chunks, longest = recipe.omniopd, recipe.corpus.max_new_tokens
    learned = (min(prompts, recipe.corpus.prompts or prompts) - recipe.corpus.held_out) * recipe.corpus.samples
    rollouts = recipe.rounds * recipe.train.epochs * learned
    methods = [ARMS[arm].method for arm in recipe.arms]
    beside = chunks.samples * chunks.chunk_tokens * min(chunks.chunks, longest // chunks.chunk_tokens)
    most, written, taught = recipe.rollout.max_tokens, 0, 0
    for method in filter(lambda one: one != "sft", methods):
        own, others = rollouts * longest, rollouts * beside * (method == "omniopd")
        step = recipe.train.batch_size * (own + others) // max(rollouts, 1)
        if most is not None and own + others > (ends := recipe.rounds * (most + step)):
            own, others = ends * own // (own + others), ends * others // (own + others)
        written, taught = written + own, taught + others
    return written, taught


def train_tokens_of_a_round(recipe: Recipe, prompts: int, prompt_tokens: float) -> float:
    """Tokens that one arm goes through in a round's training, of all epochs, where every completion is as long as
    allowed and no row is dropped."""
    trained = (min(prompts, recipe.corpus.prompts or prompts) - recipe.corpus.held_out) * recipe.corpus.samples
    return recipe.train.epochs * trained * (prompt_tokens + recipe.corpus.max_new_tokens)


class Sizes(Record):
    """How much there is to go through.

    Attributes:
        prompts: in the split that corpora are written on.
        prompt_tokens: mean length of those that are written on, about.
        examples: in the calibration split.
    """

    prompts: int
    prompt_tokens: float
    examples: int

    @staticmethod
    def of(prompts: Capability, limit: int | None, examples: int) -> "Sizes":
        """Of a split with prompts, the first `limit` of which are written on."""
        chosen = prompts.limited(limit).examples
        characters = sum(len(prompts.settings.template) + len(example.prompt) for example in chosen) / len(chosen)
        return Sizes(prompts=len(prompts.examples), prompt_tokens=characters / CHARACTERS_PER_TOKEN, examples=examples)


def adapter_bytes(card: ModelCard, rank: int, targets: Collection[Target] = ("q", "k", "v", "o")) -> int:
    """Bytes of a float32 LoRA adapter of these maps of every layer (of a fused map: about)."""
    attention = card.heads * card.head_dim
    widths = sum(card.hidden + (card.d_kv if target in ("k", "v") else attention) for target in targets)  # in + out
    return 4 * rank * widths * card.layers


# --- rates ---------------------------------------------------------------------------------------------------


def measured_rates(model: str, writer: Writer = LOCAL_WRITER) -> Rates | None:
    """What the newest finished run of a model on this machine, with its corpora by this writer, has measured; for the
    built-in one, written here, else our own. How fast an engine is, only a run through it tells."""
    for run in all_runs():
        if not isinstance(run, Run) or not isinstance(run.record.recipe, Recipe):
            continue
        if (run.record.recipe.model, run.record.recipe.corpus.writer.pace) != (model, writer.pace):
            continue
        with suppress(InputError):  # a damaged run has measured nothing
            if state_of(run) == "done" and (found := rates_of(run)) is not None:
                return found
    return BUILTIN_RATES if model == BUILTIN and writer.here else None


def rates_of(run: Run) -> Rates | None:
    """What a run has measured; None when a stage is missing (it was resumed, or wrote no raw corpus).

    Raises:
        InputError: its events cannot be read.
    """
    sums: dict[str, tuple[float, float]] = {}
    for stage, last in _last_of_each(run.events().events):
        amount = last.done if stage in ("capture", "drift") else last.tokens
        if stage == "train" and last.arm in _WRITE_IN_TRAINING:  # most of that time goes into writing
            continue
        name = "capture" if stage == "drift" else stage
        done, seconds = sums.get(name, (0.0, 0.0))
        sums[name] = (done + amount, seconds + last.seconds)
    rates: Mapping[str, float] = {name: done / seconds for name, (done, seconds) in sums.items() if done and seconds}
    if not {"corpus", "train"} <= rates.keys():
        return None
    return Rates(
        capture=rates.get("capture", BUILTIN_RATES.capture),
        corpus=rates["corpus"],
        train=rates["train"],
        source=f"this machine, in the run of {run.record.created.replace('T', ' ')}",
    )


def _last_of_each(events: Iterable[object]) -> Iterable[tuple[str, StageProgress]]:
    """The last progress of each stage that was gone through in one go."""
    last: StageProgress | None = None
    for event in events:
        if isinstance(event, StageBegun):
            if last is not None:
                yield last.stage, last
            last = None
        elif isinstance(event, StageProgress):
            last = event
    if last is not None:
        yield last.stage, last
