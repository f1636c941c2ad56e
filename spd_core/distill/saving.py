"""A trainer whose checkpoints are whole or not there, whenever its process is killed or its disk is full."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spd_core.distill.checkpoints import STAGING, STATE, put_in_place
from spd_core.errors import StorageError
from spd_core.storage import storage_errors

_TORCH_WRITES = ("PytorchStreamWriter", "inline_container")
"""In what torch says when the disk refuses what `torch.save` writes: it is no error of the system's then."""


def with_whole_checkpoints(trainer: type[Any], rows: str) -> type[Any]:
    """A subclass of transformers' trainer that writes each checkpoint aside, and names it when it is complete.

    The library writes into the folder that will be looked for, file by file: a kill in between leaves one that cannot
    be gone on with, and it may have removed the one before.

    Args:
        rows: sha256 of the rows that are trained on (`checkpoints.rows_digest`).
    """
    from transformers.trainer_utils import rotate_checkpoints

    class Whole(trainer):
        _aside = False

        def _get_output_dir(self, trial: Any) -> str:
            folder: str = super()._get_output_dir(trial)
            return os.path.join(folder, STAGING) if self._aside else folder

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            folder, first, wait = Path(self.args.output_dir), self.args.should_save, self.accelerator.wait_for_everyone
            staging, name = folder / STAGING, f"checkpoint-{self.state.global_step}"
            if first:
                shutil.rmtree(staging, ignore_errors=True)
            wait()
            try:
                with _disk_errors(folder / name):
                    self._aside = True
                    super()._save_checkpoint(model, trial)
                    wait()
                    self._call_the_best_by_its_place(staging / name, folder / name)
                    if first:
                        put_in_place(staging / name, folder / name, rows)
            finally:
                self._aside = False
                if first:
                    shutil.rmtree(staging, ignore_errors=True)
            if first:
                best = self.state.best_model_checkpoint
                rotate_checkpoints(str(folder), self.args.save_total_limit, best)
            wait()

        def _call_the_best_by_its_place(self, written: Path, place: Path) -> None:
            """The state that was written names the folder aside when this checkpoint is the best so far."""
            if self.state.best_model_checkpoint == str(written):
                self.state.best_model_checkpoint = str(place)
                if self.args.should_save:
                    self.state.save_to_json(str(written / STATE))

    return Whole


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        with storage_errors(path):
            yield
    except StorageError as error:
        raise StorageError(f"cannot write {path}: {_reason(error)}; {_REMEDY}") from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _TORCH_WRITES):
            raise
        raise StorageError(f"cannot write {path}: the disk refuses, it may be full; {_REMEDY}") from error


_REMEDY = "the checkpoint before it is whole. Free space, e.g. by deleting old runs, and resume: the run goes on there"


def _reason(error: StorageError) -> str:
    cause = error.__cause__
    return getattr(cause, "strerror", None) or str(cause or error)
