"""Activity as Neurodata Without Borders files, which experimenters' programs read: trials on one clock.

Where things lie: in the processing module ``misc`` the time series ``firing_rates``, ``network_states``,
``network_inputs``, ``network_outputs``, ``network_targets`` and ``network_mask`` (time x channel, trials one
after another, padding left out) and tables with one row a unit (``network_units``), state variable or
channel; in ``trials`` begin and end of each trial in seconds, conditions, scores and epochs; in ``scratch``
what NWB has no place for, and ``neurornn_layout``, the text by which `read` gives the dataset back.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.storage import layout as layouts
from neurornn.storage.nwb_metadata import file_fields, subject_fields
from neurornn.storage.tree import VERIFIED
from neurornn.storage.trial_table import Session, epoch_times, session_of
from neurornn.vocabulary import (
    INPUT_CHANNEL,
    OUTPUT_CHANNEL,
    STATE_VARIABLE,
    TIME,
    TRIAL,
    UNIT,
    InputError,
    need_dims,
    need_variable,
)

MODULE = "misc"
LAYOUT = "neurornn_layout"
SERIES = {
    "rate": "firing_rates",
    "state": "network_states",
    "input": "network_inputs",
    "output": "network_outputs",
    "target": "network_targets",
    "mask": "network_mask",
}
"""What variables of an activity are called as time series."""
TABLES = {
    UNIT: "network_units",
    STATE_VARIABLE: "network_state_variables",
    INPUT_CHANNEL: "network_input_channels",
    OUTPUT_CHANNEL: "network_output_channels",
}
"""Dimensions that have a table, one row an entry."""
TRIAL_ITSELF = ("input", "target", "mask")
"""What a trial is made of: it is 0 in padding, as tasks make it, what the network did there is NaN."""
DESCRIPTIONS = {
    "rate": "firing rate of each unit",
    "state": "what the network carries from step to step",
    "input": "what goes into the network",
    "output": "what the network puts out",
    "target": "what the network should put out",
    "mask": "weight of each target in the loss",
}

_HOLDER = "an NWB file"
_KINDS = "biufU"
_CHUNK_BYTES = 2**20


def export_nwb(
    activity: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    subject: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> None:
    """Write activity as an NWB file (HDF5), with metadata of your own; ``nr.save`` writes the defaults.

    Needs ``pip install "neurornn[nwb]"``. The file is made in memory and replaces an older one in one step.

    Parameters
    ----------
    activity : xarray.Dataset
        With ``rate (trial, time, unit)``, equal steps, and valid steps side by side in each trial. Float32,
        float64, whole numbers, booleans and strings. Trials stand on one clock one after another; their
        ``stop_time`` is the middle of the last step, so that intervals with closed ends part the samples.
    path : path-like
        Ending in ``.nwb``.
    subject : mapping, optional
        Fields of the subject that replace the defaults: ``subject_id`` (the digest of the weights),
        ``species`` ("In silico"), ``sex`` ("U"), ``age`` ("P0D/"), ``description``, ``strain``, ...
    **metadata
        Fields of the file that replace the defaults: ``session_description``, ``session_start_time`` (a
        datetime or ISO text; the moment of the export, for a simulation has none), ``experimenter``
        ("Doe, Jane" or several), ``institution``, ``lab``, ``keywords``, ``experiment_description``, ...
        An activity that is not of a network of this package has no defaults that would tell of one, and no
        subject unless one is given.

    Raises
    ------
    InputError
        Where pynwb is missing, a field is unknown, or the activity cannot stand on one clock or holds what
        NWB cannot. Nothing has been written then.
    UnwritableFile
        Where the disk is full; an older file is intact.

    Notes
    -----
    What `neurornn.load` gives back differs in one thing only: steps of padding, which the file leaves out.
    ``input``, ``target``, ``mask`` and whole numbers are 0 there, other numbers NaN.

    References
    ----------
    Rübel, O. et al. (2022). The Neurodata Without Borders ecosystem for neurophysiological data science.
    eLife 11, e78362. doi:10.7554/eLife.78362

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import neurornn as nr
    >>> task = nr.tasks.FlipFlop(n_bits=2)
    >>> activity = nr.record(nr.RateRNN(2, 16, 2, seed=0), task, n_trials=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "activity.nwb"
    ...     export_nwb(activity, file, experimenter="Doe, Jane", subject={"strain": "tanh"})
    ...     nr.load(file).identical(activity)
    True
    """
    pynwb = need_pynwb()
    fields = file_fields(activity, metadata)
    about = subject_fields(activity, subject)
    need_variable(activity, "rate")
    need_dims(activity["rate"], (TRIAL, TIME, UNIT), "activity.rate")
    session = session_of(activity)
    layout, arrays = layouts.take_apart(activity, _HOLDER, _KINDS)
    for entry in layout["variables"]:
        _need_writable(entry["name"], arrays[entry["name"]])
    try:
        file = pynwb.NWBFile(**fields)
        file.subject = pynwb.file.Subject(**about) if about else None
    except (TypeError, ValueError) as error:
        raise InputError(f"NWB does not accept this metadata: {error}") from error

    content = _Content(pynwb, session)
    for entry in layout["variables"]:
        content.place(entry, arrays[entry["name"]], activity)
    for name, start, stop in epoch_times(activity):
        content.add_epoch(name, *session.interval(start, stop))
    if session.first.any():
        layout["first_steps"] = session.first.tolist()
    content.fill(file, layouts.to_text(layout))
    files.atomic_write(path, files.seal(_saved(pynwb, file)))


def write(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write activity with the default metadata; see `neurornn.save` and `export_nwb`."""
    export_nwb(dataset, path)


def read(path: str | os.PathLike[str], *, verify: bool = True) -> xr.Dataset:
    """Read activity that this package has written; see `neurornn.load`.

    Parameters
    ----------
    path : path-like
    verify : bool
        Refuse bytes that are not those that were written. A file that another program has changed has no
        digest any more and is read all the same.

    Returns
    -------
    xarray.Dataset
        As it was written, but for padding: see `export_nwb`.

    Raises
    ------
    InputError
        Where there is no such file, pynwb is missing, or another program has written the file.
    CorruptFile
        Where it is damaged or of another kind.
    """
    import h5py

    pynwb = need_pynwb()
    content, verified = files.unseal(files.read_bytes(path), path, verify=verify)
    try:
        with (
            h5py.File(io.BytesIO(content), "r") as opened,
            pynwb.NWBHDF5IO(file=opened, mode="r") as reader,
        ):
            file = reader.read()
            if LAYOUT not in file.scratch:
                raise InputError(
                    f"{str(path)!r} was not written by neurornn: recorded neurons are read with "
                    "neurornn.activity_from_nwb"
                )
            dataset = _dataset(file, layouts.from_text(str(file.scratch[LAYOUT].data), path))
    except InputError:
        raise
    except Exception as error:
        # h5py, hdmf and pynwb each have their own exceptions for what is not theirs.
        raise layouts.damaged(path, _HOLDER, content, error) from error
    dataset.encoding = {"source": str(path), VERIFIED: verified}
    return dataset


def need_pynwb() -> Any:
    """Return the module pynwb, or refuse in a sentence where it is not installed."""
    try:
        return import_module("pynwb")
    except ImportError as error:
        raise InputError(
            'NWB files need pynwb, which is not installed: pip install "neurornn[nwb]"'
        ) from error


def _need_writable(name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        raise InputError(
            f"variable {name!r} has type {array.dtype}, which NWB cannot hold: "
            f"use activity[{name!r}].astype('float32') or 'float64'"
        )


class _Content:
    """What goes into a file, gathered table by table and series by series."""

    def __init__(self, pynwb: Any, session: Session) -> None:
        self.pynwb = pynwb
        self.common = import_module("hdmf.common")
        self.session = session
        self.series: dict[str, Any] = {}
        self.columns: dict[str, dict[str, Any]] = {"trials": {}}
        self.scratch: dict[str, tuple[Any, str]] = {}
        self.add_column("trials", "start_time", session.start, "begin of the trial")
        self.add_column("trials", "stop_time", session.stop, "end of the trial: the middle of its last step")
        self.add_column("trials", "n_steps", session.n_steps, "steps of the trial")
        self.add_column(
            "trials", "first_sample", session.first_sample, "where the trial begins in each series"
        )

    def place(self, entry: dict[str, Any], array: np.ndarray, activity: xr.Dataset) -> None:
        """Find the place for a variable and note it in its entry of the layout."""
        name, dims = entry["name"], tuple(entry["dims"])
        about = _about(name, activity.variables[name].attrs)
        if name == "valid" and set(dims) == {TRIAL, TIME} and array.dtype == bool:
            entry["place"] = ["valid"]
        elif array.size == 0:
            entry["place"] = ["empty"]
        elif {TRIAL, TIME} <= set(dims) and array.dtype.kind in "iuf" and len(dims) <= 4:
            order = [dims.index(dim) for dim in (TRIAL, TIME, *(d for d in dims if d not in (TRIAL, TIME)))]
            samples = self.session.join(array.transpose(order))
            entry["place"] = ["series", self.add_series(name, samples, about, activity, dims), order]
        elif dims == (TRIAL,) and not _is_nothing(array):
            entry["place"] = ["trials", self.add_column("trials", name, array, about)]
        elif self.has_table(dims, array) and not _is_nothing(array):
            table = TABLES[dims[0]]
            entry["place"] = [table, self.add_column(table, name, array, about)]
        else:
            where = layouts.free_name(layouts.plain_name(name), {*self.scratch, LAYOUT})
            self.scratch[where] = (
                _storable(np.atleast_1d(array)),
                f"{about}, axes {', '.join(dims) or 'none'}",
            )
            entry["place"] = ["scratch", where]

    def has_table(self, dims: tuple[str, ...], array: np.ndarray) -> bool:
        """Return whether an array is a column of a table; a table of one row is none."""
        other = {TRIAL, TIME} & set(dims)
        return bool(dims) and dims[0] in TABLES and not other and len(dims) <= 2 and len(array) > 1

    def add_series(
        self, name: str, samples: np.ndarray, about: str, activity: xr.Dataset, dims: tuple[str, ...]
    ) -> str:
        """Add a time series, and return what it is called."""
        own = layouts.free_name(SERIES.get(name, layouts.plain_name(name)), {*self.series, *TABLES.values()})
        labels = [dim for dim in dims if dim not in (TRIAL, TIME)]
        columns = f"; columns: {labels[0]}" if labels else ""
        if labels and labels[0] in activity.coords and labels[0] != UNIT:
            columns += f" {', '.join(map(str, activity[labels[0]].to_numpy()))}"
        if labels and labels[0] in TABLES:
            columns += f", as in {TABLES[labels[0]]}"
        self.series[own] = self.pynwb.TimeSeries(
            name=own,
            description=f"{about}, trials one after another{columns}",
            data=self.compressed(samples),
            unit=_writable(activity.variables[name].attrs.get("units") or "a.u."),
            starting_time=0.0,
            rate=self.session.rate,
        )
        return own

    def add_column(self, table: str, name: str, array: np.ndarray, about: str) -> str:
        """Add a column to a table, and return what it is called."""
        columns = self.columns.setdefault(table, {})
        kind = self.pynwb.epoch.TimeIntervals if table == "trials" else self.common.DynamicTable
        # What every table has as an attribute, or NWB as a column of its own, is the name of no other column.
        meant = [column["name"] for column in kind.__columns__]
        taken = {*dir(kind), *meant, *(f"{column}_index" for column in meant)} - {"start_time", "stop_time"}
        own = layouts.free_name(layouts.plain_name(name), {*columns, *taken})
        small = array if own in ("start_time", "stop_time") else _small(array)
        columns[own] = self.common.VectorData(name=own, description=about, data=_storable(small))
        return own

    def add_epoch(self, name: str, start: np.ndarray, stop: np.ndarray) -> None:
        """Add two columns to the trials: begin and end of an epoch in seconds of the session."""
        for side, moments in (("start", start), ("stop", stop)):
            about = (
                f"{'begin' if side == 'start' else 'middle of the last step'} of the epoch {name} in seconds"
            )
            self.add_column("trials", f"{name}_{side}_time", moments, about)

    def compressed(self, samples: np.ndarray) -> Any:
        per_sample = max(1, samples.nbytes // len(samples))
        chunk = min(len(samples), max(1, _CHUNK_BYTES // per_sample))
        return self.pynwb.H5DataIO(
            np.ascontiguousarray(samples),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            chunks=(chunk, *samples.shape[1:]),
        )

    def fill(self, file: Any, layout: str) -> None:
        """Put everything into an NWB file."""
        module = file.create_processing_module(MODULE, "Activity of units on trials, inputs and outputs")
        for series in self.series.values():
            module.add(series)
        for table, columns in self.columns.items():
            if table == "trials":
                continue
            about = f"one row a {table.removeprefix('network_').removesuffix('s').replace('_', ' ')}"
            module.add(
                self.common.DynamicTable(name=table, description=about, columns=list(columns.values()))
            )
        file.trials = self.pynwb.epoch.TimeIntervals(
            name="trials",
            description="one row a trial: conditions, scores and epochs",
            columns=list(self.columns["trials"].values()),
        )
        for name, (array, about) in self.scratch.items():
            file.add_scratch(array, name=name, description=about)
        file.add_scratch(layout, name=LAYOUT, description="by which neurornn.load gives the dataset back")


def _about(name: str, attributes: Mapping[Any, Any]) -> str:
    """Return a sentence that describes a variable."""
    about = str(attributes.get("long_name") or DESCRIPTIONS.get(name, name.replace("_", " ")))
    unit = attributes.get("units")
    return _writable(f"{about} in {unit}" if isinstance(unit, str) and unit and name not in SERIES else about)


def _writable(text: object) -> str:
    """Return a text without what HDF5 has no place for; the layout keeps it as it was."""
    return str(text).replace("\0", " ").encode("utf-8", "replace").decode()


def _small(array: np.ndarray) -> np.ndarray:
    """Return zeros and ones as bytes, where that loses nothing.

    Whoever checks NWB files takes wide zeros and ones for booleans that were stored badly.
    """
    if array.dtype.kind not in "iuf" or array.min() != 0 or array.max() != 1:
        return array
    loses = np.signbit(array).any() or not np.isin(array, (0, 1)).all()
    return array if loses else array.astype(np.int8)


def _storable(array: np.ndarray) -> Any:
    """Return strings as lists, which HDF5 holds with any length, and numbers as they are."""
    if array.dtype.kind == "U":
        return array.tolist()
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _is_nothing(array: np.ndarray) -> bool:
    """Return whether there is no number in an array: such a column is taken for a mistake."""
    return array.dtype.kind == "f" and bool(np.isnan(array).all())


def _saved(pynwb: Any, file: Any) -> memoryview:
    """Return the bytes of a file made in memory: on a full disk the HDF5 library crashes the process."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as opened, pynwb.NWBHDF5IO(file=opened, mode="w") as writer:
        writer.write(file)
    return buffer.getbuffer()


def _dataset(file: Any, layout: dict[str, Any]) -> xr.Dataset:
    """Return the dataset that a file holds, by its layout."""
    module = file.processing[MODULE]
    counts = np.asarray(file.trials["n_steps"].data[:], dtype=int)
    entries = layout["variables"]
    (n_steps,) = {e["shape"][e["dims"].index(TIME)] for e in entries if TIME in e["dims"]}
    first = np.asarray(layout.get("first_steps", np.zeros(len(counts), int)))[:, None]
    steps = np.arange(n_steps)
    valid = (steps >= first) & (steps < first + counts[:, None])
    session = Session(1.0, 1.0, valid, steps)

    def array_of(entry: dict[str, Any]) -> np.ndarray:
        kind, *where = entry["place"]
        if kind == "valid":
            return valid if entry["dims"] == [TRIAL, TIME] else valid.T
        if kind == "empty":
            return np.zeros(entry["shape"], entry["dtype"])
        if kind == "series":
            samples = module[where[0]].data[:]
            padding = np.nan if samples.dtype.kind == "f" and entry["name"] not in TRIAL_ITSELF else 0
            return session.cut(samples, padding).transpose(np.argsort(where[1]))
        if kind == "scratch":
            found = file.scratch[where[0]].data
            # One number alone comes without an axis.
            return np.asarray(found[:] if np.ndim(found) else found)
        table = file.trials if kind == "trials" else module[kind]
        return np.asarray(table[where[0]].data[:])

    return layouts.put_together(layout, array_of)
