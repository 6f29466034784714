"""Metrics for TensorBoard, where the extra is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurornn.training.metrics import Metrics
from neurornn.vocabulary import InputError


def need_tensorboard() -> Any:
    """Return torch's writer of TensorBoard files.

    Raises
    ------
    InputError
        Where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "tensorboard=True needs TensorBoard, which is not installed: pip install 'neurornn[tensorboard]'"
        ) from error
    return SummaryWriter


class TensorBoard:
    """Writes each row of the metrics once.

    Parameters
    ----------
    folder : Path
    step : int
        Step up to which training has come; what an interrupted run has written beyond it is replaced.
    n_rows : int
        Rows of the metrics that are there already.
    """

    def __init__(self, folder: Path, step: int, n_rows: int) -> None:
        self._writer = need_tensorboard()(str(folder), purge_step=step + 1 if step else None)
        self._n_written = n_rows

    def write(self, metrics: Metrics) -> None:
        """Write the rows that are new."""
        for row in metrics.rows[self._n_written :]:
            for name, value in row.items():
                if name != "step":
                    self._writer.add_scalar(name, value, int(row["step"]))
        self._n_written = len(metrics.rows)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
