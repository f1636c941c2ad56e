"""Imports that are not searched for garbage."""

import gc

import pytest

from spd_core.imports import collected_never


def test_garbage_is_looked_for_again_afterwards_but_not_in_what_was_imported() -> None:
    frozen = gc.get_freeze_count()
    try:
        with pytest.raises(ImportError), collected_never():
            assert not gc.isenabled()
            import spd_lab_has_no_such_module  # type: ignore[import-not-found]  # noqa: F401
        assert gc.isenabled(), "after a failure, too"
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
