"""A chart is drawn once: what Streamlit hands to plotly a second time differs in nothing that plotly looks at."""

import numpy as np

from app.ui.figures import build_figure


def revision(values: list[float], colour: str = "red") -> object:
    trace = {"type": "scatter", "y": np.array(values), "marker": {"color": [colour] * len(values)}}
    return build_figure([trace], {}, dark=False).layout.datarevision


def test_the_revision_changes_with_every_number_and_nothing_else() -> None:
    many = [float(i) for i in range(3000)]  # numpy leaves out the middle of long arrays where it writes them
    assert revision(many) == revision(list(many))
    assert revision(many) != revision([*many[:1500], -1.0, *many[1501:]])
    assert revision(many) != revision(many, "blue")


def test_there_is_no_template_and_short_arrays_are_lists() -> None:
    layout = {"xaxis2": {"title": {"text": "x"}}, "annotations": [{"text": "a", "font": {"size": 9}}, {"text": "b"}]}
    figure = build_figure([{"type": "scatter", "y": np.arange(3.0)}], layout, dark=True).to_dict()
    assert "template" not in figure["layout"]
    assert figure["data"][0]["y"] == [0.0, 1.0, 2.0]
    assert figure["layout"]["xaxis2"]["title"] == {"text": "x", "standoff": 6}, "the theme, and what is said beside it"
    assert figure["layout"]["xaxis2"]["gridcolor"] == figure["layout"]["yaxis"]["gridcolor"]
    assert [note["font"]["size"] for note in figure["layout"]["annotations"]] == [9, 14]
