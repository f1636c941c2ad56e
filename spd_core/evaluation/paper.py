"""What the paper reports (arXiv 2605.22675, Tables 1, 2 and 5), to stand beside one's own figures. Nothing else."""

from collections.abc import Mapping

from spd_core.evaluation.controls import role
from spd_core.evaluation.table import Column
from spd_core.recipes.evaluation import Subject

MODEL = "Qwen2.5-0.5B-Instruct"
ITEMS = 100
"""Items of each set there: the standard error of a share is 3 to 5 points."""

FIGURES: Mapping[str, Mapping[str, float]] = {
    "base": {"mbpp": 17.0, "codealpaca": 0.683, "gsm8k": 11.0, "svamp": 16.0, "mmlu": 46.0, "bbh": 32.7},
    "psr": {"mbpp": 29.0, "codealpaca": 0.683, "gsm8k": 17.0, "svamp": 19.0, "mmlu": 43.0, "bbh": 33.7},
    "ssd": {"mbpp": 18.3, "codealpaca": 0.682, "gsm8k": 12.0, "svamp": 16.0, "mmlu": 48.0, "bbh": 36.0},
    "spd": {"mbpp": 25.5, "codealpaca": 0.679, "gsm8k": 22.0, "svamp": 32.0, "mmlu": 49.0, "bbh": 38.7},
    "full": {"mbpp": 11.9, "codealpaca": 0.681, "gsm8k": 13.0, "svamp": 24.0, "mmlu": 48.0, "bbh": 35.7},
}
"""By arm and set: right answers in percent, for CodeAlpaca −log p in nats."""


def reported(model: str, subject: Subject, column: Column) -> float | None:
    """The paper's figure of a subject on a set, when the model is the paper's; else None."""
    same = model.rstrip("/").rpartition("/")[2] == MODEL
    return FIGURES.get(role(subject), {}).get(column.capability) if same else None
