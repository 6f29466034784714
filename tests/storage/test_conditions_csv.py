import csv

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import neurornn as nr
from neurornn import InputError
from neurornn.storage import conditions_csv


@pytest.fixture(scope="module")
def shared():
    """Of a task all of whose trials have the same epochs."""
    task = nr.tasks.get("perceptual_decision_making")
    return nr.record(nr.RateRNN(task.n_inputs, 5, task.n_outputs, seed=0), task, 12)


@pytest.fixture(scope="module")
def varying():
    """Of a task in which the delay differs between trials."""
    task = nr.tasks.get("delayed_match_to_sample", delay="Uniform(300, 700)")
    return nr.record(nr.RateRNN(task.n_inputs, 5, task.n_outputs, seed=0), task, 12)


def written(activity, folder):
    nr.save(activity, folder / "trials.csv")
    return pd.read_csv(folder / "trials.csv")


def test_a_row_a_trial_with_conditions_scores_and_choices(shared, tmp_path):
    table = written(shared, tmp_path)
    assert table.trial.tolist() == list(range(12))
    for name in ("coherence", "target_choice", "score", "choice", "ideal_score"):
        np.testing.assert_array_equal(table[name], shared[name])


def test_epochs_that_all_trials_share_have_the_same_begin_and_end_in_every_row(shared, tmp_path):
    table = written(shared, tmp_path)
    step = float(shared.time[1])
    for name in ("fixation", "stimulus", "response"):
        steps = np.flatnonzero(shared.epoch == name)
        assert (table[f"{name}_start"] == steps[0] * step).all()
        assert (table[f"{name}_stop"] == (steps[-1] + 1) * step).all()


def test_epochs_that_differ_have_their_own(varying, tmp_path):
    table = written(varying, tmp_path)
    assert table.delay_start.nunique() == 1
    assert table.delay_stop.nunique() > 1
    for name in ("delay_start", "delay_stop", "response_stop"):
        np.testing.assert_array_equal(table[name], varying[name])
    assert table.columns.is_unique


def test_an_epoch_that_comes_back_has_columns_for_each_time(tmp_path):
    labels = ["cue", "delay", "cue", "", "cue"]
    activity = xr.Dataset(coords={"time": np.arange(5) * 10.0, "epoch": ("time", labels), "trial": [7]})
    table = written(activity, tmp_path)
    assert table.to_dict("records") == [
        {"trial": 7, "cue_start": 0.0, "cue_stop": 10.0, "delay_start": 10.0, "delay_stop": 20.0}
        | {"cue_2_start": 20.0, "cue_2_stop": 30.0, "cue_3_start": 40.0, "cue_3_stop": 50.0}
    ]


text = st.text(st.sampled_from("ab ,;\"'\n\té"), min_size=1, max_size=5).filter(str.strip)


@settings(max_examples=60)
@given(
    numbers=hnp.arrays("f8", 4, elements=st.floats(allow_nan=True)),
    whole=hnp.arrays("i8", 4),
    words=st.lists(text, min_size=4, max_size=4),
)
def test_numbers_and_words_read_as_the_same(numbers, whole, words, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "x.csv"
    columns = {"numbers": ("trial", numbers), "whole": ("trial", whole), "words": ("trial", words)}
    conditions_csv.write(xr.Dataset(coords=columns), path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    read = [float(row["numbers"] or "nan") for row in rows]
    np.testing.assert_array_equal(read, numbers)
    assert [int(row["whole"]) for row in rows] == whole.tolist()
    assert [row["words"] for row in rows] == words


def test_no_trials_make_a_table_without_rows(shared, tmp_path):
    table = written(shared.isel(trial=[]), tmp_path)
    assert len(table) == 0
    assert "coherence" in table


def test_what_is_no_table_is_refused_and_nothing_is_written(tmp_path):
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=("cue", "pulse"))
    stacked = xr.Dataset({"x": ("trial", np.zeros(4))})
    stacked = stacked.assign_coords(xr.Coordinates.from_pandas_multiindex(index, "trial"))
    refused = [
        (xr.Dataset({"rate": ("unit", [1.0])}), r"`dataset` needs dimension 'trial', got \('unit',\)"),
        (
            xr.Dataset({"x": ("trial", np.array([None, 1]))}),
            r"'x' holds Python objects, which a table of text",
        ),
        (stacked, r"'trial' holds Python objects, .*reset_index"),
    ]
    for dataset, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            nr.save(dataset, tmp_path / "x.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_not_read_back(shared, tmp_path):
    nr.save(shared, tmp_path / "x.csv")
    with pytest.raises(InputError, match=r"\.csv files are written only"):
        nr.load(tmp_path / "x.csv")
