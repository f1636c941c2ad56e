"""Reads what the command `capture` wrote until November 2026: bases cut off at their rank, and no example.

subspace.json  subspace.safetensors
"""

from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from spd_core.data.capability import Capability, Settings, builtin_names
from spd_core.data.catalog import read_named, saved_capabilities
from spd_core.errors import InputError
from spd_core.models.families import Site, site_from
from spd_core.records import json_value
from spd_core.subspace.analysis import Analysis, Provenance
from spd_core.subspace.site_analysis import SiteAnalysis

TENSORS, RECORD = "subspace.safetensors", "subspace.json"


def read_shell_folder(folder: Path) -> Analysis:
    """Such a folder as an analysis; raises what its libraries do where it is damaged."""
    record = json_value((folder / RECORD).read_bytes())
    tensors = load_file(folder / TENSORS)
    sites = [site_from(site) for site in record.pop("sites")]
    provenance = Provenance.model_validate(record)
    found = {
        site: SiteAnalysis(tensors[f"{site.name}.singular_values"], tensors[f"{site.name}.basis"], None)
        for site in sites
    }
    return Analysis(folder.name, provenance, _recalled(provenance), found, ())


def _recalled(provenance: Provenance) -> Capability:
    """The capability that an old folder names, where it is at hand and the same still; else its name alone."""
    name = provenance.capability
    if name in (*builtin_names(), *saved_capabilities()):
        with suppress(InputError):  # damaged
            found = read_named(name)
            if found.split("calibration").limited(provenance.examples_requested).fingerprint == provenance.fingerprint:
                return found
    return Capability(Settings(capability=name or "unknown"), ())


def check_basis(site: Site, found: SiteAnalysis, folder: Path) -> None:
    """Raise `InputError` where a site's basis has a wrong shape, or is not orthonormal."""
    basis = found.vectors
    rows, rank = basis.shape if basis.ndim == 2 else (0, 0)
    if rows != site.d_kv or not 1 <= rank <= site.d_kv or found.values.shape != (site.d_kv,):
        raise InputError(
            f"{folder}: {site.name} has a basis of shape {list(basis.shape)}, expected [{site.d_kv}, rank]"
        )
    error = np.abs(basis.T.astype(np.float64) @ basis.astype(np.float64) - np.eye(rank)).max()
    if not error < 1e-4:  # also true for NaN
        raise InputError(f"{folder}: the basis of {site.name} is not orthonormal (off by {error:.1e})")
