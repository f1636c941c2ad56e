"""Who writes, as a form asks it: what is chosen is a writer, and a form that was filled with one gives it back."""

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from spd_core.recipes.writer import LOCAL_WRITER, Served, Writer
from tests.app.test_pages import text_of
from tests.waiting import LONG

SERVER = Writer(
    kind="openai",
    url="http://127.0.0.1:8000/v1",
    served_name="base",
    others=(
        Served(of="spd", served_name="folded model", url="http://127.0.0.1:8001/v1"),
        Served(of="random", served_name="r"),
    ),
    concurrency=3,
    timeout=7.5,
    tries=2,
)


def _page(base: str, each: str) -> None:
    import json

    import streamlit as st

    from app.runs.writer import pick_writer

    st.json(json.dumps(pick_writer(json.loads(base), "here", "subject" if each == "subject" else "arm")))


def shown(writer: Writer, each: str = "arm") -> AppTest:
    kwargs = {"base": writer.model_dump_json(), "each": each}
    return AppTest.from_function(_page, kwargs=kwargs, default_timeout=LONG).run()


def chosen(at: AppTest) -> Any:
    return Writer.model_validate(json.loads(at.json[0].value))


@pytest.mark.parametrize("writer", [LOCAL_WRITER, SERVER, Writer(kind="vllm", concurrency=99)])
def test_a_form_that_is_filled_with_a_writer_gives_it_back(writer: Writer) -> None:
    assert chosen(shown(writer)) == writer


def test_another_writer_is_chosen_with_what_it_cannot_do_beside_it() -> None:
    at = shown(LOCAL_WRITER)
    assert not at.text_input
    assert "randomness" not in text_of(at)
    at.selectbox[0].set_value("vllm").run()
    assert chosen(at) == Writer(kind="vllm")
    assert "arms do not share their randomness" in text_of(at)
    at.selectbox[0].set_value("openai").run()
    url, name = at.text_input
    url.set_value(SERVER.url)
    name.set_value("base").run()
    at.text_area[0].set_value("spd = folded model at http://127.0.0.1:8001/v1\n\n random=r ").run()
    assert chosen(at).others == SERVER.others


def test_answers_share_no_noise_because_they_draw_none() -> None:
    said = text_of(shown(Writer(kind="vllm"), "subject"))
    assert "started for each subject" in said
    assert "randomness" not in said
    assert "greedy" in said
