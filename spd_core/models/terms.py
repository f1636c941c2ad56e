"""The terms of a packaged model: their text, from its package, and whether they were accepted on this machine.

Some licences ask that everyone who uses a model has agreed to them first. It is asked once, and kept in `SPD_HOME` with
the checksum of the text: other terms are asked for again.
"""

import json
import os
import time
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

from spd_core.errors import ModelError
from spd_core.imports import package_folder
from spd_core.models.hashes import file_hash
from spd_core.models.packaged import PACKAGED, PackagedModel
from spd_core.storage import shared_home, to_json, write_text

ACCEPTED = "SPD_ACCEPT_TERMS"
"""Environment variable that accepts terms where nobody can be asked: names of models, with commas between them."""
_BLOCKS = {"p", "h1", "h2", "h3", "h4", "li", "aside", "div"}


def is_installed(model: PackagedModel) -> bool:
    """Whether all packages of a model are here; none is imported."""
    return all(package_folder(module) is not None for module in model.modules)


def terms_of(model: PackagedModel) -> str:
    """The text of a model's terms: paragraphs with an empty line between them, no markup; empty where it has none.

    Raises:
        ModelError: the package is not installed, or its file cannot be read.
    """
    if not model.terms:
        return ""
    path = _terms_file(model)
    try:
        reader = _Text()
        reader.feed(path.read_text("utf-8"))
        reader.close()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"the {model.terms_name} at {path} cannot be read ({error}); {_again(model)}") from error
    if not (text := reader.text()):
        raise ModelError(f"{path} holds no terms that can be read; {_again(model)}")
    return text


def are_accepted(model: PackagedModel) -> bool:
    """Whether a model may be used here: it asks for nothing, or its terms, as they are now, were accepted.

    Raises:
        ModelError: the package is not installed, or its file cannot be read.
    """
    if not model.terms or model.key in (name.strip() for name in os.environ.get(ACCEPTED, "").split(",")):
        return True
    try:
        found = json.loads(_kept(model).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("sha256") == _digest(model)


def accept_terms(model: PackagedModel) -> Path | None:
    """Keep that the terms of a model were accepted here; the file, or None where it has none.

    Raises:
        ModelError: the package is not installed, or its file cannot be read.
        StorageError: the disk refuses.
    """
    if not model.terms:
        return None
    path = _kept(model)
    digest, now = _digest(model), time.strftime("%Y-%m-%dT%H:%M:%S")
    write_text(path, to_json({"terms": model.terms_name, "at": model.terms_at, "sha256": digest, "accepted": now}))
    return path


def require_terms(model: PackagedModel) -> None:
    """Refuse a model whose terms were not accepted.

    Raises:
        ModelError: with how to read and to accept them; or the package is not installed.
    """
    if not are_accepted(model):
        raise ModelError(
            f"{model.title} may be used under the {model.terms_name} alone, which nobody has accepted here; read them "
            f"on Home, or with: python -m spd_core models --terms {model.key}; accept them with: python -m spd_core "
            f"models --accept {model.key}"
        )


def notices(base: str) -> dict[str, str]:
    """Files that have to go with what is made of a base and handed on, by their names; none where no terms ask for it.

    The terms themselves are among them, where the package that has them is installed.
    """
    model = PACKAGED.get(base)
    if model is None or not model.notice:
        return {}
    changed = f"What lies beside this file is a modified version of {model.title}, made with SPD Lab."
    files = {"NOTICE": f"{model.notice}\n\n{changed}\n"}
    with suppress(ModelError):  # not installed: the notice says where they are
        files["TERMS.txt"] = f"{model.terms_name}, {model.terms_at}\n\n{terms_of(model)}\n"
    return files


def _kept(model: PackagedModel) -> Path:
    return shared_home() / "terms" / f"{model.key}.json"


def _digest(model: PackagedModel) -> str:
    path = _terms_file(model)
    try:
        return file_hash(path)
    except OSError as error:
        raise ModelError(f"the {model.terms_name} at {path} cannot be read ({error}); {_again(model)}") from error


def _terms_file(model: PackagedModel) -> Path:
    folder = package_folder(model.modules[0])
    if folder is None:
        raise ModelError(f"{model.in_words} is not installed; install it with: {model.install}")
    return folder / model.terms


def _again(model: PackagedModel) -> str:
    return f"install it again with: {model.install}"


class _Text(HTMLParser):
    """The paragraphs of a page's article: what stands between its body's tags, without scripts and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._depth = 0  # of div elements, inside the article
        self._hidden = False
        self._blocks: list[str] = [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "div" and (self._depth or "devsite-article-body" in (dict(attrs).get("class") or "").split()):
            self._depth += 1
        self._hidden = tag in ("script", "style")
        if tag in _BLOCKS:
            self._blocks.append("• " if tag == "li" else "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "div" and self._depth:
            self._depth -= 1
        self._hidden = False
        if tag in _BLOCKS:
            self._blocks.append("")

    def handle_data(self, data: str) -> None:
        if self._depth and not self._hidden:
            self._blocks[-1] += data

    def text(self) -> str:
        """Each paragraph on one line, an empty line after each."""
        lines = (" ".join(block.split()) for block in self._blocks)
        return "\n\n".join(line for line in lines if line not in ("", "•"))
