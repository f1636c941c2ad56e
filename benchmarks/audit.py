"""Asks a database of advisories about every library of requirements.lock, and says when nobody could be asked.

make audit

pip-audit calls what it could not look up *skipped*, and ends as if all were well: here that is not well. Ends with 0
where all were looked up and nothing is known against any, 1 where something is, 2 where some could not be looked up.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import typer

LOCK = "requirements.lock"


def main(program: str = "pip-audit", lock: str = LOCK) -> None:
    """Print what is known against the libraries of a lock file."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "found.json"
        words = [program, "-r", lock, "--disable-pip", "--progress-spinner", "off", "-f", "json", "-o", str(out)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if not out.exists():
            reason = (done.stderr.strip() or "no output").splitlines()[-1]
            print(f"NOT AUDITED: pip-audit could ask no database of advisories ({reason:.300})", file=sys.stderr)
            raise typer.Exit(2)
        code, said = verdict(json.loads(out.read_text("utf-8")))
    print("\n".join(said), file=sys.stderr if code else sys.stdout)
    raise typer.Exit(code)


def verdict(found: dict[str, Any]) -> tuple[int, list[str]]:
    """Exit code and lines for what pip-audit has written as JSON."""
    libraries = found["dependencies"]
    skipped = [one["name"] for one in libraries if "skip_reason" in one]
    known = [
        f"{one['name']} {one['version']}: {bug['id']}, mended in {', '.join(bug['fix_versions']) or 'none yet'}"
        for one in libraries
        for bug in one.get("vulns", ())
    ]
    if skipped or not libraries:
        known.append(
            f"NOT AUDITED: {len(skipped)} of {len(libraries)} libraries could not be looked up "
            f"({', '.join(skipped[:5])}"
            f"{', …' * (len(skipped) > 5)}); the machine is offline, or its package index knows no advisories"
        )
        return (1 if len(known) > 1 else 2), known
    return (1, known) if known else (0, [f"nothing is known against the {len(libraries)} libraries of {LOCK}"])


if __name__ == "__main__":
    typer.run(main)
