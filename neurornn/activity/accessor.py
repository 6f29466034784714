"""``activity.rnn``: the functions of activity as methods of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from neurornn.activity import conditions, epochs, populations
from neurornn.activity.origin import read_origin, rebuild_network, rebuild_task
from neurornn.networks import Network
from neurornn.tasks import TaskProtocol


@xr.register_dataset_accessor("rnn")
class RNNAccessor:
    """What neurornn does with a recording, as ``activity.rnn.<method>``.

    Each method is the function of the same name in `neurornn`, which tells the details. Analyses are
    functions only: ``neurornn.analysis.pca(activity.rnn.epoch("delay"))``.

    Parameters
    ----------
    activity : xarray.Dataset

    Examples
    --------
    >>> import neurornn as nr
    >>> activity = nr.record(nr.RateRNN(2, 5, 3), nr.tasks.DelayedComparison(), 20)
    >>> activity.rnn.epoch("delay").rnn.condition_average("delay_duration").sizes["condition"]
    5
    >>> activity.rnn.task == nr.tasks.DelayedComparison()
    True
    """

    def __init__(self, activity: xr.Dataset) -> None:
        self._activity = activity

    def epoch(self, names: str | Sequence[str]) -> xr.Dataset:
        """Cut an epoch out of every trial; see `neurornn.epoch`."""
        return epochs.epoch(self._activity, names)

    def align(self, to: str, *, before: float | None = None, after: float | None = None) -> xr.Dataset:
        """Put every trial in time with an event of its own; see `neurornn.align`."""
        return epochs.align(self._activity, to, before=before, after=after)

    def condition_average(
        self,
        by: str | Sequence[str],
        *,
        variables: str | Sequence[str] | None = None,
        spread: str | None = None,
    ) -> xr.Dataset:
        """Average over the trials of each condition; see `neurornn.condition_average`."""
        return conditions.condition_average(self._activity, by, variables=variables, spread=spread)

    def population(self, name: str | Sequence[str] | None = None, /, **coordinates: Any) -> xr.Dataset:
        """Return the activity of some of the units; see `neurornn.population`."""
        return populations.population(self._activity, name, **coordinates)

    @property
    def origin(self) -> dict[str, Any]:
        """Where the recording came from, as plain values: task, network, training, seeds, versions.

        Raises
        ------
        InputError
            Where the dataset does not tell.
        """
        return read_origin(self._activity)

    @property
    def task(self) -> TaskProtocol:
        """The task that the recording was made on.

        Raises
        ------
        InputError
            Where the dataset does not tell, or the task has no registered name.
        """
        return rebuild_task(self._activity)

    @property
    def network(self) -> Network:
        """The network that was recorded, to the bit.

        Raises
        ------
        InputError
            Where the weights did not travel along, or were changed since.
        """
        return rebuild_network(self._activity)
