"""Event files for TensorBoard, beside an adapter, where a training asks for them: transformers' own integration."""

import importlib.util
from pathlib import Path
from typing import Any

from spd_core.errors import InputError
from spd_core.recipes.distill import TrainSettings
from spd_core.storage import storage_errors

TENSORBOARD = "tensorboard"


def check_event_files(settings: TrainSettings) -> None:
    """Refuse to write them where their package is missing.

    Raises:
        InputError: it is; the message says how it is installed.
    """
    for name in settings.log_to:
        if importlib.util.find_spec(name) is None:
            raise InputError(
                f"train.log_to {name!r}: the package {name} is not installed here; pip install {name}, or leave it out"
            )


def event_files(settings: TrainSettings, folder: Path) -> list[Any]:
    """Callbacks for transformers' trainer that write them into `folder/tensorboard`; none where nobody asked.

    Raises:
        InputError: the package is missing.
    """
    check_event_files(settings)
    return [_tensorboard(folder / TENSORBOARD)] if TENSORBOARD in settings.log_to else []


def _tensorboard(folder: Path) -> Any:
    from transformers.integrations import TensorBoardCallback

    class EventFiles(TensorBoardCallback):
        """In this folder, whatever the environment says; of several processes the first one writes.

        A training that goes on does so from its checkpoint: what was told of later steps does not count any more.
        """

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                first = state.global_step + 1 if state.global_step else 0
                with storage_errors(folder):
                    self.tb_writer = self._SummaryWriter(log_dir=str(folder), purge_step=first)
            super().on_train_begin(args, state, control, **kwargs)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            with storage_errors(folder):
                super().on_log(args, state, control, logs, **kwargs)

    return EventFiles()
