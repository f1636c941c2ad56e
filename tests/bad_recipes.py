"""Settings that cannot be, over the preset quick of arithmetic on the built-in model, and what each is to be told."""

from typing import Any

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "layers": ({"capture": {"layers": "a,b"}}, "capture.layers 'a,b': unknown layer 'a'; use middle, last, all"),
    "layer": ({"capture": {"layers": "30"}}, "capture.layers '30': unknown layer '30'; .* from 0 to 29"),
    "rank": ({"capture": {"rank": "999999"}}, r"capture.rank '999999': rank 999999 is outside 1 to 192 \(d_kv 192\)"),
    "no rank": ({"capture": {"rank": "most"}}, "capture.rank 'most': unknown rank 'most'; use half"),
    "rank above the rows": ({"capture": {"rank": "150", "examples": 1}}, "capture.rank 150: .* choose a lower rank"),
    "loss": ({"capture": {"loss": "solution"}}, "capture.loss 'solution' is for code with tests"),
    "lora r": ({"train": {"lora_r": 100_000}}, r"train.lora_r 100000 is more than .* 192 outputs .*; choose 1 to 192"),
    "epochs": ({"train": {"epochs": 10**9}}, "train.epochs 1,000,000,000.* days .*; choose fewer epochs"),
    "samples": ({"corpus": {"samples": 10**8}}, "corpus.samples 100,000,000.* days .*; choose fewer"),
    "learning rate": ({"train": {"learning_rate": 3.0}}, "train.learning_rate 3 is above 1"),
    "model": ({"model": "buitlin"}, "no model 'buitlin': it is neither builtin, gemma, nor a folder"),
    "folder": ({"model": "/nowhere/model"}, "no model folder at /nowhere/model; check the path"),
    "capability": ({"capability": "arithmetics"}, "unknown capability 'arithmetics'; built in: arithmetic"),
    "split": ({"capability": "bbh"}, "bbh has no train split; it has calibration, heldout"),
    "held out": ({"corpus": {"prompts": None, "held_out": 240}}, "corpus.held_out 240: arithmetic has 240 train"),
    "new tokens": ({"corpus": {"max_new_tokens": 9000}}, "corpus.max_new_tokens 9000: the context .* 8192"),
    "one example": ({"capture": {"examples": 1}, "arms": ["shuffled"]}, "the arm shuffled shuffles answers, and 1"),
}
"""By a name; known at once."""

BAD_TO_READ: dict[str, tuple[dict[str, Any], str]] = {
    "many rounds": ({"rounds": 10**6}, "rounds: Input should be less than or equal to 1000"),
    "beyond counting": ({"train": {"epochs": 10**30}}, "train.epochs: above 9,007,199,254,740,991"),
    "infinite": ({"train": {"learning_rate": float("inf")}}, "Infinity is no number that a setting can have"),
    "no number": ({"corpus": {"temperature": float("nan")}}, "NaN is no number that a setting can have"),
}
"""Already refused when a file is read."""

BAD_EVALUATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "capture": ({"subjects": ["base", {"kind": "projected", "capture": "gone"}]}, "no capture 'gone'"),
    "adapter": ({"subjects": ["base", "gone/spd"]}, "no adapter 'gone/spd' on this machine"),
    "checkpoint": (
        {"subjects": ["base", {"kind": "checkpoint", "model": "/nowhere"}]}, "no model folder at /nowhere"),
    "rank of a subject": (
        {"subjects": ["base", {"kind": "projected", "rank": "193"}]}, "rank of Projected '193': rank 193 is outside"),
    "layers of a subject": (
        {"subjects": ["base", {"kind": "projected", "layers": [3]}]},
        r"layers \[3\] of Projected are not in its subspace, which has \[15, 29\]"),
    "set": ({"sets": ["arithmetics"]}, "unknown capability 'arithmetics'"),
    "file": ({"sets": [{"capability": "gsm8k", "data": "/nowhere.jsonl"}]}, "cannot read /nowhere.jsonl"),
    "no such split": ({"sets": ["codealpaca"]}, "codealpaca has no heldout split"),
    "code": ({"sets": ["python-functions"]}, "python-functions is scored by running code .* Allow it"),
    "arms": ({"subjects": ["base", "spd"], "train": {"lora_r": 500}}, "train.lora_r 500 is more than"),
    "layers": ({"capture": {"layers": "a,b"}}, "capture.layers 'a,b': unknown layer 'a'"),
    "endless": ({"sets": [{"capability": "arithmetic", "max_new_tokens": 10**8}]}, "answers would take about"),
}  # fmt: skip
