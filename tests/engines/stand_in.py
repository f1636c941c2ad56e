"""Stands in for vLLM: takes the same words, loads the checkpoint that they name, and serves it by the tiny server."""

import argparse
import sys
from functools import partial

from spd_core.intervention.projection import Lane
from spd_core.models.loading import load
from tests.engines.server import Server

if sys.argv[1] == "-c":  # asked for its version
    print("0.0")
    sys.exit()
words = argparse.ArgumentParser()
words.add_argument("-m")
for name in ("model", "served-model-name", "dtype"):
    words.add_argument(f"--{name}", required=True)
for name in ("port", "max-model-len"):
    words.add_argument(f"--{name}", type=int, required=True)
words.add_argument("--max-lora-rank", type=int, default=0)
words.add_argument("--refuses", nargs="*", default=[])  # names of adapters
words.add_argument("--stale", action="store_true")
found, _ = words.parse_known_args()
if found.dtype != "float32":
    sys.exit(f"ValueError: no {found.dtype} here")
with Server(
    load(found.model, dtype="float32"),
    Lane(),
    port=found.port,
    name=found.served_model_name,
    context=found.max_model_len,
    version="0.0",
    program="vllm",
    refused=found.refuses,
    stale=found.stale,
    said=partial(print, flush=True),
) as server:
    server.serve_forever()
