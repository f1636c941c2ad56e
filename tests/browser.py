"""Which Chromium the tests and benchmarks use. `python -m tests.browser` fails where there is none."""

import os
import shutil
import sys


def find_chromium() -> str | None:
    """The one that `SPD_CHROMIUM` names, else one on the path; None leaves it to Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("SPD_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


if __name__ == "__main__":
    sys.exit(find_chromium() is None)
