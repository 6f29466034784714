"""Do the tables hold the numbers?"""

import numpy as np

from neurornn.report import make_tables


def test_tables_hold_the_numbers(everything):
    tables = {table.title: table for table in everything[1]}
    assert list(tables) == [
        "Performance",
        "Performance by condition",
        "Variance explained",
        "Fixed points",
        "Index sum",
        "Leading modes",
        "Psychometric curve",
    ]
    assert tables["Performance"].rows[0] == ("mean score", "0.9500 ± 0.0500", "10")
    by_side = tables["Performance by condition"]
    assert by_side.columns == ("side", "mean score", "95% interval", "trials")
    assert [row[:2] + row[-1:] for row in by_side.rows] == [("0", "1.0000", "5"), ("1", "0.9000", "5")]
    assert [row[1:4] for row in tables["Fixed points"].rows] == [
        ("stable", "0", "8"),
        ("saddle", "1", "12"),
        ("saddle", "2", "6"),
        ("saddle", "3", "1"),
    ]
    assert tables["Index sum"].rows == [("zero input", "1", "1", "agrees")]
    assert tables["Leading modes"].rows[0] == ("zero input", "stable", "0.5000", "0.5000", "50")
    assert tables["Leading modes"].rows[-1][2:] == ("1.5000", "1.5000", "-20")
    assert tables["Variance explained"].rows[-1][-1] == "100.0%"
    assert [row[0] for row in tables["Psychometric curve"].rows] == [
        "bias",
        "width",
        "lapse low",
        "lapse high",
    ]
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_tables_of_nothing_found(activity, points):
    tables = {table.title: table for table in make_tables(activity(), points=points([], index=[0]))}
    assert tables["Fixed points"].note == "None was found."
    assert tables["Index sum"].rows == [("zero input", "0", "1", "contradicts completeness")]
    assert "Leading modes" not in tables
    undefined = make_tables(activity(), points=points(["marginal"], index=[np.nan], expected=[np.nan]))
    assert undefined[2].rows == [("zero input", "undefined", "none", "nothing to compare")]


def test_a_long_table_of_points_is_cut_and_says_so(activity, points):
    found = points(["stable"] * 40)
    modes = next(table for table in make_tables(activity(), points=found) if table.title == "Leading modes")
    assert len(modes.rows) == 30
    assert "The first 30 of 40 points." in modes.note
