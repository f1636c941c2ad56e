"""The figure of drift holds the numbers it is given, a mark a site, and tells rounds and chance apart."""

from app.fine_tune import drift_chart
from tests.app.fine_tune.test_charts import by_name, turned


def test_drift_marks_every_site_and_chance() -> None:
    drifts = {("psr", 1): turned("psr"), ("spd", 1): turned("spd", 1, 0.8), ("spd", 2): turned("spd", 2, 0.7)}
    figure = drift_chart.drift(drifts, False)
    named = by_name(figure)
    assert list(named) == ["PSR", "SPD", "SPD, round 2", "chance"]
    assert list(named["SPD"][0].x) == ["layer 1 key", "layer 1 value"]
    assert list(named["SPD"][0].y) == [0.8, 0.5]
    assert list(named["SPD"][0].customdata[0]) == [0.875, 0.25, 60.0]
    symbols = {name: named[name][0].marker.symbol for name in list(named)[:3]}
    assert symbols == {"PSR": "circle", "SPD": "diamond-open", "SPD, round 2": "diamond"}
    assert [(line.x0, line.x1, line.y0) for line in figure.layout.shapes] == [(-0.45, 0.45, 0.25), (0.55, 1.45, 0.25)]
    assert tuple(figure.layout.yaxis.range) == (0, 1.04)


def test_drift_as_a_table_and_in_a_sentence() -> None:
    drifts = {("spd", 1): turned("spd"), ("spd", 2): turned("spd", 2, 0.3)}
    rows = drift_chart.drift_table(drifts)
    assert len(rows) == 4
    assert rows[0] == {"Arm": "SPD", "Round": "1", "Site": "layer 1 key", "Overlap (mean cos²)": "0.75",
                       "To the round before": "0.875", "Chance": "0.25", "Largest angle (°)": "60"}  # fmt: skip
    assert rows[1]["To the round before"] == rows[1]["Largest angle (°)"] == "", "what was not told is left empty"
    alt = drift_chart.drift_alt(drifts)
    assert "SPD 0.500 at layer 1 value (chance 0.250); SPD, round 2 0.300 at layer 1 key" in alt
    assert drift_chart.drift_alt({}).endswith("none yet.")
    assert len(drift_chart.drift({}, True).data) == 1
