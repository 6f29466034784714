"""The numbers of a training, one row a step, as ``metrics.csv`` holds them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from neurornn import files

PER_STEP = ("step", "stage", "trials", "learning_rate", "loss", "gradient_norm", "gradient_norm_clipped")
"""Columns that every step fills, as do penalties; the rest is measured at evaluations."""
PER_EVALUATION = ("evaluation_loss", "evaluation_score", "ms_per_step")
"""Columns that every evaluation fills; the last one alone is not the same when a run is repeated."""
WHOLE = ("step", "stage", "trials")
"""Columns of whole numbers."""
PENALTY = "penalty_"
"""What the columns of penalties begin with."""


class Metrics:
    """Rows of numbers that grow with the training.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.add({"step": 1, "loss": 0.5})
    >>> metrics.amend({"evaluation_score": 0.75})
    >>> metrics.amend({"silent_units": 0.25})
    >>> metrics.text().splitlines()[-1]
    '1,,,,0.5,,,,0.75,,0.25'
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.columns = [*PER_STEP, *PER_EVALUATION]
        self._n_written = 0
        self._columns_written: list[str] = []

    def add(self, row: dict[str, float]) -> None:
        """Begin a new row."""
        self.rows.append({})
        self.amend(row)

    def amend(self, values: dict[str, float]) -> None:
        """Add to the last row."""
        self.columns += [name for name in values if name not in self.columns]
        self.rows[-1] |= values

    def text(self, first: int = 0) -> str:
        """Return the rows from one on as CSV, with the header where it is the first."""
        buffer = io.StringIO()
        table = csv.DictWriter(buffer, self.columns, restval="", lineterminator="\n")
        if first == 0:
            table.writeheader()
        table.writerows(self.rows[first:])
        return buffer.getvalue()

    def write(self, path: Path) -> None:
        """Bring a file up to date: add what is new, or write it anew where there is a new column."""
        if self._columns_written == self.columns and self._n_written:
            files.append_text(path, self.text(self._n_written))
        else:
            files.atomic_write(path, self.text().encode())
        self._n_written, self._columns_written = len(self.rows), list(self.columns)

    def state(self) -> dict[str, Any]:
        """Return the rows as what a checkpoint holds: names, numbers (row, column), and which there are."""
        values = np.zeros((len(self.rows), len(self.columns)))
        filled = np.zeros(values.shape, bool)
        for number, row in enumerate(self.rows):
            for place, name in enumerate(self.columns):
                if name in row:
                    values[number, place], filled[number, place] = row[name], True
        return {
            "columns": list(self.columns),
            "values": torch.from_numpy(values),
            "filled": torch.from_numpy(filled),
        }

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Metrics:
        """Return the rows that a checkpoint holds; what is written next is the whole file."""
        metrics = cls()
        columns = state["columns"]
        for values, filled in zip(state["values"].tolist(), state["filled"].tolist(), strict=True):
            named = zip(columns, values, filled, strict=True)
            row = {name: own for name, own, there in named if there}
            metrics.add({name: int(own) if name in WHOLE else own for name, own in row.items()})
        metrics.columns = list(columns)
        return metrics

    @classmethod
    def of_text(cls, text: str) -> Metrics:
        """Return the rows of a CSV file, without a last line that is not whole yet."""
        metrics = cls()
        for row in csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])):
            metrics.add({name: float(value) for name, value in row.items() if value})
        return metrics

    def history(self, best_step: int, stopped_by: str = "") -> xr.Dataset:
        """Return the rows as a labelled dataset.

        Returns
        -------
        xarray.Dataset
            What every step fills on ``step``, what evaluations measure on ``evaluation``, whose coordinate is
            the step after which it was made.
        """
        steps = [row for row in self.rows if "loss" in row]
        evaluations = [row for row in self.rows if "evaluation_loss" in row]
        data: dict[str, Any] = {}
        for name in self.columns:
            if name == "step":
                continue
            dim = "step" if name in PER_STEP or name.startswith(PENALTY) else "evaluation"
            rows = steps if dim == "step" else evaluations
            data[name] = dim, np.array([row.get(name, np.nan) for row in rows], float)
        return xr.Dataset(
            data,
            coords={
                "step": ("step", np.array([row["step"] for row in steps], dtype=int)),
                "evaluation": ("evaluation", np.array([row["step"] for row in evaluations], dtype=int)),
            },
            attrs={"best_step": best_step, **({"stopped_by": stopped_by} if stopped_by else {})},
        )
