"""`spd_core models`: what there is, and the terms of models that ask for them."""

from typing import Annotated, Any

import typer

from spd_core.cli.console import Json, print_result
from spd_core.errors import InputError, ModelError


def models_command(
    terms: Annotated[str | None, typer.Option(metavar="MODEL", help="print the terms of a packaged model")] = None,
    accept: Annotated[str | None, typer.Option(metavar="MODEL", help="accept them, once on this machine")] = None,
    as_json: Json = False,
) -> None:
    """List the packaged models, the supported families and the capabilities; show a model's terms, or accept them."""
    if terms is not None:
        _print_terms(terms, as_json)
    elif accept is not None:
        _accept(accept, as_json)
    else:
        print_result(_all(), as_json)


def _all() -> dict[str, Any]:
    from spd_core.data import capability, public
    from spd_core.models import builtin, families
    from spd_core.models.packaged import PACKAGED, SMOLLM2

    return {
        "builtin": SMOLLM2.name,
        "builtin_folder": str(builtin.builtin_folder()),
        "builtin_ready": builtin.is_intact(builtin.builtin_folder()),
        "packaged": {name: _standing(name) for name in PACKAGED},
        "families": sorted((*families.SEPARATE, *families.FUSED)),
        "capabilities": capability.builtin_names(),
        "data_sets": sorted(public.PUBLIC_SETS),
    }


def _standing(name: str) -> str:
    """Name, licence, origin, and what is missing before a packaged model can be used."""
    from spd_core.models.packaged import PACKAGED
    from spd_core.models.terms import are_accepted, is_installed

    model = PACKAGED[name]
    if not is_installed(model):
        missing = f"install it with {model.install}"
    elif not are_accepted(model):
        missing = f"accept its terms with python -m spd_core models --accept {name}"
    else:
        missing = "installed"
    return f"{model.title}, {model.licence_name}, {model.origin}, {missing}"


def _print_terms(name: str, as_json: bool) -> None:
    from spd_core.models.terms import terms_of

    model = _model(name)
    text = terms_of(model)
    if as_json:
        print_result({"model": name, "licence": model.licence_name, "at": model.terms_at, "terms": text}, as_json)
    else:
        print(text or f"{model.title} is under {model.licence_name}: nothing has to be accepted")


def _accept(name: str, as_json: bool) -> None:
    from spd_core.models.terms import accept_terms

    model = _model(name)
    kept = accept_terms(model)
    if kept is None:
        raise InputError(f"{model.title} is under {model.licence_name}: nothing has to be accepted")
    print_result({"accepted": f"{model.terms_name}, {model.terms_at}", "kept_in": str(kept)}, as_json)


def _model(name: str) -> Any:
    from spd_core.models.packaged import PACKAGED

    if name not in PACKAGED:
        raise ModelError(f"{name!r} is no packaged model; there are {', '.join(PACKAGED)}")
    return PACKAGED[name]
