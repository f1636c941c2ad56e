"""Which completions of a corpus are right, by the scorer of their capability. Imports no torch: pages ask."""

from collections.abc import Callable, Sequence

from spd_core.data.capability import Capability
from spd_core.distill.corpus import CorpusRow
from spd_core.errors import Stopped
from spd_core.evaluation.scoring import Runner, score
from spd_core.sandbox.run import Verdict, check_isolation, code_allowed, run_tests


def marks(
    rows: Sequence[CorpusRow],
    capability: Capability,
    run: Runner | None = None,
    tell: Callable[[int], bool] = lambda _done: True,
) -> dict[int, bool]:
    """Whether each row is right, by its number; a row whose example is gone is left out.

    Empty where the capability is scored by likelihood, and for code without something that runs it.

    Args:
        run: runs code that the model wrote; None leaves it unmarked.
        tell: told how many rows are done; false stops.

    Raises:
        Stopped: `tell` asked to.
    """
    settings = capability.settings
    if settings.scorer == "nll" or (settings.scorer == "python" and run is None):
        return {}
    examples = {example.id: example for example in capability.examples}
    found: dict[int, bool] = {}
    for done, row in enumerate(rows):
        if not tell(done):
            raise Stopped("stopped on request")
        if row.id in examples:
            example = examples[row.id]
            found[row.number] = score(example, settings, row.completion, row.finish, run or _none).correct
    return found


def marks_where_allowed(rows: Sequence[CorpusRow], capability: Capability) -> dict[int, bool]:
    """The same; code is run where that is allowed and can be isolated, and is unmarked elsewhere."""
    runs_code = capability.settings.scorer == "python" and code_allowed() and not check_isolation()
    return marks(rows, capability, run_tests if runs_code else None)


def _none(*_code: object) -> Verdict:
    raise AssertionError("scorers of text run no code")
