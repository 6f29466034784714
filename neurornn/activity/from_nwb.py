"""Recorded neurons out of Neurodata Without Borders files: spikes or rates, cut into trials and labelled.

The file is read piece by piece, so that a recording may be larger than memory; what comes out is in memory.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurornn import files
from neurornn.activity.from_arrays import activity_from_arrays
from neurornn.activity.nwb_sources import ROUNDING, Samples, Spikes, columns
from neurornn.activity.origin import ORIGIN
from neurornn.storage.nwb import need_pynwb
from neurornn.tasks.trials import TAKEN_NAMES
from neurornn.vocabulary import MILLISECONDS, UNIT, InputError, need_positive, unknown_name

_SEAL_LENGTH = len(files.seal(b""))
_SEAL_MARK = files.seal(b"")[:-32]


def activity_from_nwb(
    path: str | os.PathLike[str],
    *,
    series: str | None = None,
    trials: str = "trials",
    bin_width: float | None = None,
    smoothing: float | None = None,
) -> xr.Dataset:
    """Read recorded neurons from an NWB file (HDF5) as activity, which every analysis accepts.

    Needs ``pip install "neurornn[nwb]"``.

    Parameters
    ----------
    path : path-like
        Where the file is.
    series : str, optional
        What the rates are: ``"units"``, the table of sorted units, whose spike times are counted in bins; or
        the name of a TimeSeries (time x unit), such as rates, or fluorescence; ``"container/name"`` where
        several have that name. By default the spikes, or else the only such series.
    trials : str
        The table of intervals that are to be trials.
    bin_width : float, optional
        Width of a bin in ms, counted from each trial's start. Needed for spikes. Samples of a series are
        averaged within bins; by default each sample is a step.
    smoothing : float, optional
        Standard deviation in ms of a Gaussian by which each trial's rates are averaged over time. Kernels are
        cut off at the trial's ends and take their weight from what is left, so that nothing leaks in from
        what comes before or after. By default the rates stay as they are.

    Returns
    -------
    xarray.Dataset
        ``rate (trial, time, unit)`` in float32: spikes per second, or the series' own numbers. Trials shorter
        than the longest end in steps that are not ``valid``. On ``trial``: the columns of the table of
        intervals; those of moments (``<event>_time``, by NWB's rule in seconds of the session) as ``<event>``
        in ms from the trial's start, and so ``<epoch>_start_time`` with ``<epoch>_stop_time`` as an epoch.
        On ``unit``: the ids; columns of the units, and of electrodes or regions of interest as
        ``electrode_<column>``, ``roi_<column>``, where all that belong to a unit agree. A column whose name
        datasets use has ``recorded_`` before it. ``attrs["neurornn"]`` tells the source and what was left
        out.

    Raises
    ------
    InputError
        Where there is no such file, series or table, nothing tells which one is meant, a bin is missing, or
        samples are not evenly spaced.
    CorruptFile
        Where it is no NWB file, or damaged.

    Warns
    -----
    UserWarning
        Where trials without times or beyond the recording, or units that were not observed throughout the
        trials (by their ``obs_intervals``, or with a sample missing), are left out.

    References
    ----------
    Rübel, O. et al. (2022). The Neurodata Without Borders ecosystem for neurophysiological data science.
    eLife 11, e78362. doi:10.7554/eLife.78362

    Examples
    --------
    Of recorded spikes, ``activity_from_nwb("sub-01.nwb", bin_width=20, smoothing=40)``. Here what a network
    did is read as recorded neurons would be:

    >>> import pathlib, tempfile
    >>> import neurornn as nr
    >>> recorded = nr.record(nr.RateRNN(2, 16, 2, seed=0), nr.tasks.FlipFlop(n_bits=2), n_trials=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nr.save(recorded, pathlib.Path(folder) / "session.nwb")
    ...     activity = activity_from_nwb(pathlib.Path(folder) / "session.nwb", series="firing_rates")
    >>> bool((activity.rate == recorded.rate).all())
    True
    """
    width = None if bin_width is None else need_positive(bin_width, "bin_width", "ms") / 1e3
    sigma = None if smoothing is None else need_positive(smoothing, "smoothing", "ms") / 1e3
    left_out: dict[str, list[str]] = {}
    with _opened(path) as file:
        table = _table(file, trials, path)
        source = _source(file, series, path)
        step = source.step(width)
        start, stop = (np.asarray(table[name].data[:], float) for name in ("start_time", "stop_time"))
        kept = _trials_within(source, start, stop, width, left_out)
        arrays = source.rates(start[kept], stop[kept], width)
        observed = source.observed(start[kept], stop[kept])
        observed &= np.all([np.isfinite(own).all(axis=0) for own in arrays], axis=0)
        if not observed.any():
            raise InputError(f"no unit of {str(path)!r} was observed throughout the trials: choose others")
        if not observed.all():
            left_out["units"] = [str(own) for own in source.ids[~observed]]
        conditions, moments, epochs = _conditions(columns(table, left_out), kept)
        taken = TAKEN_NAMES | {*conditions, *moments}
        labels = _renamed(source.labels(left_out), taken)
        ids, measure = source.ids[observed], source.measure
        about = {
            "source": "nwb",
            "file": Path(path).name,
            "identifier": str(file.identifier),
            "series": source.name,
            "intervals": trials,
            "bin_width": bin_width,
            "smoothing": smoothing,
            "left_out": left_out,
        }
    _warn(left_out)
    if sigma is not None:
        arrays = [_smoothed(own, sigma / step) for own in arrays]
    activity = activity_from_arrays(
        [own[:, observed] for own in arrays],
        # What is read as seconds has lost the last digits of the ms that were meant.
        dt=float(f"{step * 1e3:.12g}"),
        conditions=conditions | moments,
        unit_labels={name: own[observed] for name, own in labels.items()},
        epochs=epochs,
    )
    for name in moments:
        activity[name].attrs["units"] = MILLISECONDS
    activity["rate"].attrs["units"] = measure
    origin = json.loads(activity.attrs[ORIGIN])
    origin["recording"] |= about
    activity.attrs[ORIGIN] = json.dumps(origin, sort_keys=True)
    return activity.assign_coords({UNIT: (UNIT, ids)})


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Give out the content of an NWB file. One that this package has sealed is verified first."""
    import h5py

    pynwb = need_pynwb()
    place = files.as_path(path)
    if place.is_dir():
        raise InputError(f"{str(path)!r} is a folder, expected an NWB file in HDF5: export it as HDF5 first")
    if not place.exists():
        raise InputError(f"there is no file {str(path)!r}: check the name and the folder")
    with open(place, "rb") as raw:
        head = raw.read(512)
        raw.seek(max(0, place.stat().st_size - _SEAL_LENGTH))
        sealed = raw.read().startswith(_SEAL_MARK)
    content: Any = place
    if sealed:
        content = io.BytesIO(files.unseal(files.read_bytes(place), path)[0])
    try:
        opened = h5py.File(content, "r")
        reader = pynwb.NWBHDF5IO(file=opened, mode="r")
        file = reader.read()
    except Exception as error:
        # h5py, hdmf and pynwb each have their own exceptions for what is not theirs.
        raise files.CorruptFile(
            f"{str(path)!r} is not an NWB file in HDF5, or is damaged ({error}); it is "
            f"{files.kind_of_content(head)}: check the name, or take another copy"
        ) from error
    try:
        yield file
    finally:
        reader.close()
        opened.close()


def _table(file: Any, name: str, path: str | os.PathLike[str]) -> Any:
    """Return a table of intervals by its name."""
    from pynwb.epoch import TimeIntervals

    tables = {own.name: own for own in file.objects.values() if isinstance(own, TimeIntervals)}
    if not tables:
        raise InputError(
            f"{str(path)!r} has no table of trials or other intervals: cut the series by hand and label it "
            "with neurornn.activity_from_arrays"
        )
    if name not in tables:
        unknown_name("table of intervals", name, tables)
    return tables[name]


def _source(file: Any, name: str | None, path: str | os.PathLike[str]) -> Spikes | Samples:
    """Return what the rates are made of."""
    from pynwb import TimeSeries

    spikes = file.units is not None and "spike_times" in file.units.colnames
    if spikes and name in (None, Spikes.name):
        return Spikes(file.units)
    found = [own for own in file.objects.values() if isinstance(own, TimeSeries) and _is_numeric(own)]
    named = [own.name for own in found]
    known = {
        own.name if named.count(own.name) == 1 else f"{own.parent.name}/{own.name}": own for own in found
    }
    wide = sorted(key for key, own in known.items() if len(own.data.shape) == 2)
    if name is None:
        if len(wide) != 1:
            which = f"several ({', '.join(map(repr, wide))})" if wide else "none"
            raise InputError(
                f"{str(path)!r} has no spike times, and of time series (time x unit) {which}: "
                + ("say which with series=" if wide else "there is nothing to read as rates")
            )
        name = wide[0]
    if name not in known:
        unknown_name("series", name, [*known, *([Spikes.name] if spikes else [])])
    return Samples(known[name], file)


def _is_numeric(series: Any) -> bool:
    shape: tuple[int, ...] = getattr(series.data, "shape", ())
    return len(shape) in (1, 2) and shape[0] > 1 and np.dtype(series.data.dtype).kind in "biuf"


def _trials_within(
    source: Spikes | Samples,
    start: np.ndarray,
    stop: np.ndarray,
    width: float | None,
    left_out: dict[str, list[str]],
) -> np.ndarray:
    """Return the rows of a table that have a step and lie within the recording."""
    slack = ROUNDING * source.step(width)
    rows = np.flatnonzero((start >= source.first - slack) & (stop <= source.last + slack) & (stop > start))
    kept = rows[source.n_steps(start[rows], stop[rows], width) > 0]
    if not len(kept):
        raise InputError(
            f"no trial has a whole step of {source.step(width) * 1e3:g} ms within the recording, which runs "
            f"from {source.first:g} to {source.last:g} s: choose other trials or another bin_width"
        )
    if len(kept) < len(start):
        left_out["trials"] = [str(row) for row in sorted({*range(len(start))} - {*kept.tolist()})]
    return kept


def _warn(left_out: Mapping[str, list[str]]) -> None:
    reasons = {
        "trials": "have no whole step, no times, or reach beyond the recording",
        "units": "were not observed throughout the trials",
    }
    for what, why in reasons.items():
        if what in left_out:
            some = ", ".join(left_out[what][:5]) + (", ..." if len(left_out[what]) > 5 else "")
            warnings.warn(
                f"{len(left_out[what])} {what} {why} and are left out: {some}", UserWarning, stacklevel=3
            )


def _smoothed(array: np.ndarray, sigma: float) -> np.ndarray:
    """Average over time by a Gaussian of ``sigma`` steps that takes its weight from the trial's own steps."""
    from scipy.ndimage import gaussian_filter1d

    def sums(values: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter1d(values.astype(float), sigma, axis=0, mode="constant"))

    return (sums(array) / sums(np.ones((len(array), 1)))).astype(array.dtype)


def _conditions(
    columns: Mapping[str, np.ndarray], kept: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return what each trial is about, moments in it, and its epochs, these two in ms from its start."""
    conditions, moments = {}, {}
    for name, values in columns.items():
        event = name.removesuffix("_time")
        # Where a column of that name is there too, it says already what this one would.
        if event in (name, "start", "stop") or event in columns or values.dtype.kind != "f":
            conditions[name] = values[kept]
        else:
            moments[event] = ((values - columns["start_time"]) * 1e3)[kept]
    taken = set(TAKEN_NAMES)
    for name, kinds in (("choice", "iu"), ("score", "biuf"), ("ideal_score", "biuf")):
        # A network's choices are whole numbers and its scores numbers; an animal's may be words.
        if name in conditions and conditions[name].dtype.kind in kinds:
            taken.remove(name)
    pairs = [(name, f"{name.removesuffix('_start')}_stop") for name in moments if name.endswith("_start")]
    pairs = [(one, other) for one, other in pairs if other in moments]
    epochs = {
        one.removesuffix("_start"): (moments.pop(one), moments.pop(other))
        for one, other in pairs
        # NaN, where a trial has no such epoch, is neither.
        if not (moments[one] > moments[other]).any()
    }
    return _renamed(conditions, taken), _renamed(moments, taken), epochs


def _renamed(columns: Mapping[str, np.ndarray], taken: Collection[str]) -> dict[str, np.ndarray]:
    return {f"recorded_{name}" if name in taken else name: own for name, own in columns.items()}
