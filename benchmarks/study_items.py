"""More held-out items of arithmetic, for a study that is to see three points: the same wordings with other numbers.

python -m benchmarks.study_items assets/studies/arithmetic-1000.jsonl

Calibration, train and the 180 held-out items stay as they are. The other held-out items have the wording of one of
them, and the two numbers of some problem with the same operation; no prompt is one of the 480 that come with SPD Lab.
Wordings take turns, so that each is used about equally often.
"""

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import typer

from spd_core.data.capability import BUILTIN_FOLDER
from spd_core.storage import write_text

Row: TypeAlias = dict[str, str]
Pair: TypeAlias = tuple[int, int]


def parts(equation: str) -> tuple[int, str, int]:
    """`18 - 7` as 18, `-`, 7."""
    left, operation, right = equation.split()
    return int(left), operation, int(right)


def result(left: int, operation: str, right: int) -> int:
    """What an equation comes to."""
    return {"+": left + right, "-": left - right, "*": left * right, "//": left // right}[operation]


def reworded(row: Row, pair: Pair) -> str | None:
    """The prompt of a row with other numbers; None where one cannot tell which number is which."""
    left, _, right = parts(row["equation"])
    if left == right or 1 in pair:  # a single one would need another word
        return None
    other = {str(left): str(pair[0]), str(right): str(pair[1])}
    return re.sub(r"\d+", lambda found: other[found[0]], row["prompt"])


def more(rows: list[Row], count: int, seed: int) -> Iterator[Row]:
    """So many new held-out rows; rows are all that there are."""
    pairs: dict[str, list[Pair]] = defaultdict(list)
    for row in rows:
        left, operation, right = parts(row["equation"])
        pairs[operation].append((left, right))
    known = {row["prompt"] for row in rows}
    held_out = [row for row in rows if row["split"] == "heldout"]
    draw, made = random.Random(seed), 0
    while made < count:
        for row in draw.sample(held_out, len(held_out)):
            operation = parts(row["equation"])[1]
            pair = draw.choice(pairs[operation])
            prompt = reworded(row, pair)
            if prompt is None or prompt in known or made == count:
                continue
            known.add(prompt)
            made += 1
            yield {
                "id": f"arithmetic-more-{made:04}",
                "split": "heldout",
                "prompt": prompt,
                "answer": str(result(pair[0], operation, pair[1])),
                "equation": f"{pair[0]} {operation} {pair[1]}",
            }


def main(out: Path, items: int = 1000, seed: int = 0) -> None:
    """Write arithmetic with so many held-out items as a capability file."""
    head, *rows = [json.loads(line) for line in (BUILTIN_FOLDER / "arithmetic.jsonl").read_text("utf-8").splitlines()]
    held_out = sum(row["split"] == "heldout" for row in rows)
    head |= {"capability": out.stem, "title": f"Arithmetic, {items:,} items"}
    written = [head, *rows, *more(rows, items - held_out, seed)]
    write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in written))


if __name__ == "__main__":
    typer.run(main)
