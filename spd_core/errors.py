"""Every error a user can meet, with a message fit for a screen: the value, and the remedy.

`exit_code` is what `python -m spd_core` returns for it.
"""


class SpdError(Exception):
    """Base of all errors that SPD Lab raises on purpose."""

    exit_code = 1


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
