"""What a distillation costs, alone or as the training of an evaluation's arms."""

from app.jobs.models import Prepared, model_bytes
from spd_core.data.catalog import find_capability
from spd_core.recipes.distill import Recipe
from spd_core.runs.costs import CHARACTERS_PER_TOKEN, Cost, Rates, cost_of


def cost_and_prompts(recipe: Recipe, prepared: Prepared | None, rates: Rates | None) -> tuple[Cost, list[str]]:
    """What a distillation costs, and the prompts that it writes on; for a public data set, it asks the hub.

    Raises:
        InputError: the capability is not there, or a split of it is empty.
    """
    prompts = find_capability(recipe.capability, split=recipe.corpus.split)
    examples = len(find_capability(recipe.capability).examples)
    chosen = prompts.limited(recipe.corpus.prompts).examples
    texts = [prompts.settings.template.replace("{prompt}", example.prompt) for example in chosen]
    card, tokens = prepared.card if prepared else None, _mean_tokens(texts, prepared)
    weights = model_bytes(prepared, recipe.dtype) if prepared and recipe.corpus.writer.keeps_checkpoint else 0
    return cost_of(recipe, len(prompts.examples), tokens, examples, rates, card, weights), texts


def _mean_tokens(texts: list[str], prepared: Prepared | None) -> float:
    if prepared is None:
        return sum(map(len, texts)) / CHARACTERS_PER_TOKEN / max(len(texts), 1)
    few = texts[:: max(1, len(texts) // 32)]
    return sum(len(ids) for ids in prepared.tokenizer(few, verbose=False)["input_ids"]) / max(len(few), 1)
