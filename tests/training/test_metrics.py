import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurornn import files
from neurornn.files import UnwritableFile
from neurornn.training.metrics import PENALTY, PER_EVALUATION, PER_STEP, Metrics

names = st.sampled_from([*PER_STEP[1:], *PER_EVALUATION, "penalty_rate_l2", "silent_units"])
numbers = st.floats(allow_nan=False) | st.integers(-(2**40), 2**40).map(float)
tables = st.lists(st.dictionaries(names, numbers, max_size=5), max_size=6)


def filled(rows):
    metrics = Metrics()
    for step, row in enumerate(rows):
        metrics.add({"step": step, **{k: int(v) if k in ("stage", "trials") else v for k, v in row.items()}})
    return metrics


finite = tables.filter(
    lambda rows: all(math.isfinite(row.get(name, 0.0)) for row in rows for name in ("stage", "trials"))
)


@given(finite)
def test_metrics_come_back_from_a_checkpoint_to_the_same_bytes(rows):
    metrics = filled(rows)
    again = Metrics.of_state(metrics.state())
    assert again.rows == metrics.rows
    assert again.columns == metrics.columns
    assert again.text() == metrics.text()


@given(finite)
def test_metrics_come_back_from_their_file(rows):
    metrics = filled(rows)
    again = Metrics.of_text(metrics.text())
    # repr of a float is read as the same float.
    assert again.rows == metrics.rows


def test_a_number_that_is_none_is_kept_and_is_not_an_empty_cell():
    metrics = Metrics()
    metrics.add({"step": 1, "loss": math.nan})
    metrics.add({"step": 2, "gradient_norm": -math.inf})
    again = Metrics.of_state(metrics.state())
    assert again.text() == metrics.text()
    assert math.isnan(again.rows[0]["loss"])
    assert "loss" not in again.rows[1]
    assert metrics.text().splitlines()[1] == "1,,,,nan,,,,,"


def test_a_table_without_rows_is_a_header():
    assert Metrics().text() == ",".join([*PER_STEP, *PER_EVALUATION]) + "\n"
    assert Metrics.of_text(Metrics().text()).rows == []
    assert Metrics.of_state(Metrics().state()).rows == []
    assert Metrics.of_text("").rows == []


def test_a_last_line_that_is_not_whole_is_left_out():
    metrics = filled([{"loss": 0.5}, {"loss": 0.25}])
    text = metrics.text()
    last = len(text.splitlines()[-1])
    for cut in range(1, last + 1):
        assert Metrics.of_text(text[:-cut]).rows == metrics.rows[:1]


def test_a_file_grows_by_its_new_rows_and_is_written_anew_for_a_new_column(tmp_path, monkeypatch):
    path, whole = tmp_path / "metrics.csv", []
    monkeypatch.setattr(files, "atomic_write", lambda p, data: whole.append(p) or p.write_bytes(data))
    metrics = Metrics()
    for step in range(5):
        metrics.add({"step": step, "loss": 0.1 * step})
        if step == 3:
            metrics.amend({"silent_units": 0.0})
        metrics.write(path)
        assert path.read_text() == metrics.text()
    # At the beginning, and when the column came.
    assert len(whole) == 2
    again = Metrics.of_state(metrics.state())
    again.write(path)
    assert len(whole) == 3
    assert path.read_text() == metrics.text()
    with open(path, newline="") as file:
        assert [row["silent_units"] for row in csv.DictReader(file)] == ["", "", "", "0.0", ""]


def test_a_full_disk_is_told_by_the_files_name(tmp_path):
    metrics = Metrics()
    metrics.add({"step": 0})
    metrics.write(tmp_path / "metrics.csv")
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "metrics.csv").mkdir()
    metrics.add({"step": 1})
    with pytest.raises(UnwritableFile, match=r"cannot write '.*metrics\.csv' \(Is a directory\): make room"):
        metrics.write(tmp_path / "metrics.csv")


def test_history_has_steps_and_evaluations_apart():
    metrics = Metrics()
    metrics.add({"step": 0})
    metrics.amend({"evaluation_loss": 4.0, "evaluation_score": 0.5})
    metrics.add({"step": 1, "loss": 3.0, PENALTY + "rate_l2": 0.25})
    metrics.add({"step": 2, "loss": 2.0, PENALTY + "rate_l2": 0.125})
    metrics.amend({"evaluation_loss": 1.0, "evaluation_score": 0.75, "silent_units": 0.5})
    history = metrics.history(2, "steps")
    assert history.attrs == {"best_step": 2, "stopped_by": "steps"}
    assert history.step.values.tolist() == [1, 2]
    assert history.evaluation.values.tolist() == [0, 2]
    assert history.penalty_rate_l2.dims == ("step",)
    assert history.penalty_rate_l2.values.tolist() == [0.25, 0.125]
    np.testing.assert_array_equal(history.silent_units, [np.nan, 0.5])
    assert history.silent_units.dims == ("evaluation",)
    assert "stopped_by" not in metrics.history(2).attrs
