"""Imports that are not searched for garbage."""

import gc
import importlib

import pytest

from spd_core.imports import collected_never


def test_garbage_is_looked_for_again_afterwards_but_not_in_what_was_imported() -> None:
    frozen = gc.get_freeze_count()
    try:
        with pytest.raises(ImportError), collected_never():
            assert not gc.isenabled()
            importlib.import_module("spd_core.no_such_module")
        assert gc.isenabled(), "after a failure, too"
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
