"""Every error a user can meet, with a message fit for a screen: the value, and the remedy.

`exit_code` is what `python -m spd_core` returns for it.
"""

LONGEST_MESSAGE = 2000
"""Characters of a message: what a file says is repeated in it, and may be anything."""


class SpdError(Exception):
    """Base of all errors that SPD Lab raises on purpose.

    A message is text that can be shown and sent: half characters are spelled out, and of a long one the beginning (the
    value) and the end (the remedy) are kept.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        text = message.encode("utf-8", "backslashreplace").decode()
        if len(text) > LONGEST_MESSAGE:
            text = f"{text[: LONGEST_MESSAGE // 2]} … {text[-LONGEST_MESSAGE // 2 :]}"
        super().__init__(text)


class InputError(SpdError):
    """A file or a setting from the user is wrong."""

    exit_code = 2


class NewerFormatError(InputError):
    """A file was written by a newer SPD Lab: it is whole, and this version cannot read it."""


class ModelError(SpdError):
    """A model cannot be loaded, is of a family that is not supported, or is not the one a file was made for."""

    exit_code = 3


class MemoryLimitError(SpdError):
    """The estimate says that it cannot fit."""

    exit_code = 4


class CaptureError(SpdError):
    """A capture gave nothing usable: no span survived, or a gradient is not finite."""

    exit_code = 5


class StorageError(SpdError):
    """The disk refused: full, read-only, or an output that is already there."""

    exit_code = 6


class Stopped(SpdError):  # noqa: N818 - it is no error of anybody
    """Somebody has asked to stop, before there was anything whole to return; what is on the disk is kept."""

    exit_code = 130


class TrainingError(SpdError):
    """A training that cannot go on, e.g. because its loss is no number."""

    exit_code = 7


class WriterError(SpdError):
    """An inference engine that is to write is not there, serves another model, or does not answer as asked."""

    exit_code = 8
