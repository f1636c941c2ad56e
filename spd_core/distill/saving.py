"""A trainer whose checkpoints are whole or not there, whenever its process is killed or its disk is full."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spd_core.distill.checkpoints import STAGING, STATE, best_of, put_in_place
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
                    self._call_the_best_by_its_place(folder, staging / name)
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

        def _call_the_best_by_its_place(self, folder: Path, written: Path) -> None:
            """The library has looked for the best checkpoint in the folder aside, and may have written that down."""
            best = self.state.best_global_step
            here = str(folder / written.name) if best == self.state.global_step else best_of(folder, best)
            if self.state.best_model_checkpoint != here:
                self.state.best_model_checkpoint = here
                if self.args.should_save:
                    self.state.save_to_json(str(written / STATE))

    return Whole


def find_the_best_by_its_place() -> Any:
    """A callback of transformers: a state that was read names the best checkpoint by where the run lay when it was
    written, and the library passes over one that is not there."""
    from transformers import TrainerCallback

    class ByItsPlace(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            state.best_model_checkpoint = best_of(Path(args.output_dir), state.best_global_step)

    return ByItsPlace()


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        with storage_errors(path):
            yield
    except StorageError as error:
        raise _refused(path, error.__cause__ or error) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _TORCH_WRITES):
            raise
        raise _refused(path, error) from error


def _refused(path: Path, error: BaseException) -> StorageError:
    """What the disk has refused, and what to do: torch and safetensors do not say why in a way to rely on."""
    number, said = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
    full = number in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    why = "the disk refuses, it is probably full" if any(words in said for words in _TORCH_WRITES) else said
    remedy = "Free space, e.g. by deleting old runs," if full else "Look after the disk"
    stands = "the checkpoint before it is whole" if any(path.parent.glob("checkpoint-*")) else "the corpora are kept"
    return StorageError(f"cannot write {path}: {why}; {stands}. {remedy} and resume: the run goes on there")
