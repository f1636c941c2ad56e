"""Writers as settings: what names a place is one, and secrets stand in none."""

import pytest
from pydantic import ValidationError

from spd_core.recipes.distill import Recipe, recipe_from
from spd_core.recipes.presets import differing
from spd_core.recipes.writer import Served, Writer


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/v1", "with http:// or https://"),
        ("localhost:8000", "with http:// or https://"),
        ("http://me:secret@host/v1", "without name, password or query"),
        ("http://host/v1?key=secret", "without name, password or query"),
    ],
)
def test_a_url_that_is_none_or_holds_a_secret_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Writer(kind="openai", url=url, served_name="m")
    with pytest.raises(ValidationError, match=said):
        Served(of="spd", served_name="m", url=url)


def test_settings_of_another_writer_are_refused() -> None:
    with pytest.raises(ValidationError, match="the writer vllm takes no url"):
        Writer(kind="vllm", url="http://host/v1")
    with pytest.raises(ValidationError, match="named by its url"):
        Writer(kind="openai", url="http://host/v1")


def test_a_recipe_with_a_writer_is_read_back_from_its_short_form() -> None:
    writer = Writer(kind="openai", url="http://host/v1/", served_name="m", others=(Served(of="spd", served_name="f"),))
    made = recipe_from(
        {"preset": "quick", "capability": "arithmetic", "corpus": {"writer": writer.model_dump(mode="json")}}
    )
    assert made.corpus.writer.url == "http://host/v1"
    assert recipe_from(differing(made)) == made
    assert "writer" not in differing(Recipe(capability="arithmetic")).get("corpus", {})


def test_what_decides_about_rows_is_who_writes_and_not_how_many_at_a_time() -> None:
    one = Writer(kind="openai", url="http://host/v1", served_name="m", others=(Served(of="spd", served_name="f"),))
    assert one.decides("spd", True) == one.model_copy(update={"concurrency": 1, "tries": 1}).decides("spd", True)
    assert one.decides("spd", True) != one.decides("ssd", False)
    assert one.decides("random", True) != one.decides("ssd", False), "nobody said what serves it"
    assert Writer(kind="vllm").decides("spd", True) != Writer().decides("spd", True)
