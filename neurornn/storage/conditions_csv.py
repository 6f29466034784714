"""What is known of each trial as a table in a text file, for spreadsheets and statistics programs."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import xarray as xr

from neurornn import files
from neurornn.storage.trial_table import epoch_times, trial_columns
from neurornn.vocabulary import TRIAL, InputError, need_dims


def write(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write one row a trial: conditions, score, choice, begin and end of each epoch; see `neurornn.save`.

    The activity itself is not in the table, so nothing reads it back. Numbers are written so that they read
    as the same to the bit; what is not a number is an empty field.

    Parameters
    ----------
    dataset : xarray.Dataset
        With dimension ``trial``. Its variables on ``trial`` alone become columns, in their order, after the
        number of the trial; ``<epoch>_start`` and ``<epoch>_stop`` are in ms.
    path : path-like

    Raises
    ------
    InputError
        Where there are no trials, or a column holds Python objects.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> activity = xr.Dataset(coords={"cue": ("trial", ["left", "right"]), "score": ("trial", [1.0, 0.5])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "trials.csv"
    ...     write(activity, file)
    ...     print(file.read_text())
    trial,cue,score
    0,left,1.0
    1,right,0.5
    <BLANKLINE>
    """
    files.atomic_write(path, table(dataset).to_csv(index=False, lineterminator="\n").encode())


def table(dataset: xr.Dataset) -> pd.DataFrame:
    """Return what is known of each trial as a data frame, one row a trial.

    Raises
    ------
    InputError
        As `write`.
    """
    need_dims(dataset, (TRIAL,), "dataset")
    columns = trial_columns(dataset)
    content = {TRIAL: np.arange(dataset.sizes[TRIAL])}
    for name, variable in columns.items():
        array = variable.to_numpy()
        if array.dtype == object and not all(isinstance(entry, str) for entry in array):
            raise InputError(
                f"{name!r} holds Python objects, which a table of text cannot: make it numbers or strings "
                "(dataset.reset_index makes columns of a MultiIndex)"
            )
        content[name] = array
    for name, start, stop in epoch_times(dataset):
        if f"{name}_start" not in columns:
            place = _place(name, content)
            content |= {f"{place}_start": start, f"{place}_stop": stop}
    return pd.DataFrame(content)


def _place(name: str, content: dict[str, np.ndarray]) -> str:
    """Return the name of an epoch, with a number where it comes for another time in the trial."""
    place, number = name, 2
    while f"{place}_start" in content:
        place, number = f"{name}_{number}", number + 1
    return place
