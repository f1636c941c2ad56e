"""Who writes what a model says, as settings: SPD Lab itself, or an inference engine. Imports no torch.

An engine is asked for texts alone: what it writes is the same model's, by other arithmetic and other noise, so that
rows of two writers never stand in one corpus or cell.
"""

from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from spd_core.errors import InputError
from spd_core.records import Request

WriterKind: TypeAlias = Literal["local", "openai", "vllm"]


class Served(Request):
    """A model that a server serves.

    Attributes:
        of: the arm or subject that it is.
        url: of the API, such as http://127.0.0.1:8000/v1; empty takes the writer's own.
        served_name: what the server calls it (of vLLM: `--served-model-name`).
    """

    of: str = Field(default="", max_length=120)
    url: str = Field(default="", max_length=500)
    served_name: str = Field(min_length=1, max_length=500)

    @field_validator("url")
    @classmethod
    def _is_one(cls, url: str) -> str:
        return plain_url(url)


class Writer(Request):
    """Who writes.

    Attributes:
        kind: `local` is SPD Lab itself; `openai` any server that offers `/v1/completions`; `vllm` a server that is
            started and stopped for each arm or subject, in an environment of its own (see `engines/serving.py`).
        url, served_name: of an `openai` server, and of the untouched model on it.
        others: models that are not the untouched one: a server serves a projected arm as a folded checkpoint.
        concurrency: requests that are on their way at a time.
        timeout: seconds that one may take.
        tries: how often one is made, before the server counts as gone.
    """

    kind: WriterKind = "local"
    url: str = Field(default="", max_length=500)
    served_name: str = Field(default="", max_length=500)
    others: tuple[Served, ...] = ()
    concurrency: int = Field(default=16, ge=1, le=1024)
    timeout: float = Field(default=120.0, gt=0, le=3600)
    tries: int = Field(default=5, ge=1, le=20)

    @field_validator("url")
    @classmethod
    def _is_one(cls, url: str) -> str:
        return plain_url(url)

    @model_validator(mode="after")
    def _fits(self) -> "Writer":
        if self.kind == "openai" and not (self.url and self.served_name):
            raise ValueError(
                "a server is named by its url, such as http://127.0.0.1:8000/v1, and the served_name of the untouched "
                "model on it"
            )
        if self.kind != "openai" and (self.url or self.served_name or self.others):
            raise ValueError(
                f"the writer {self.kind} takes no url, served_name or others; they are of an openai server"
            )
        return self

    @property
    def here(self) -> bool:
        """Whether SPD Lab writes itself."""
        return self.kind == "local"

    @property
    def keeps_checkpoint(self) -> bool:
        """Whether the model lies on the disk once more while it writes; of one arm or subject at a time."""
        return self.kind == "vllm"

    @property
    def pace(self) -> dict[str, Any]:
        """What of it decides how fast it writes: patience does not."""
        return self.model_dump(exclude={"timeout", "tries"})

    def named(self, name: str, changed: bool) -> Served | None:
        """The model of an arm or subject on an `openai` server; None where nobody said what serves it.

        Args:
            changed: it is projected or tuned, so that the untouched model is not it.
        """
        for one in self.others:
            if one.of == name:
                return one.model_copy(update={"url": one.url or self.url})
        return None if changed else Served(of=name, url=self.url, served_name=self.served_name)

    def served(self, name: str, changed: bool) -> Served:
        """The same.

        Raises:
            InputError: nobody said what serves it.
        """
        found = self.named(name, changed)
        if found is None:
            raise InputError(
                f"the server at {self.url} serves {self.served_name}, and {name} is another model; export it (python "
                f"-m spd_core export), serve that folder, and name it in the writer's others: "
                f'{{"of": "{name}", "served_name": …}}. Or choose the writer vllm, which does all of that'
            )
        return found

    def decides(self, name: str, changed: bool) -> Any:
        """What of it decides which rows an arm gets; arguments as of `named`."""
        if self.kind != "openai":
            return self.kind
        found = self.named(name, changed)
        return [self.kind, *([] if found is None else (found.url, found.served_name))]


LOCAL_WRITER = Writer()


def plain_url(url: str) -> str:
    """A URL without its last slash; empty stays empty.

    Raises:
        ValueError: it is not one of http or https, or names more than a place: keys stand in no recipe.
    """
    if not url:
        return url
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write a URL with http:// or https://, such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a URL without name, password or query; a key is read from SPD_WRITER_KEY alone")
    return url.strip().rstrip("/")
