"""Ctrl-C and SIGTERM as a wish to stop, which training grants between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Take note of the signals that end a process, within a ``with`` block.

    A second one interrupts at once. Outside the main thread, where Python takes none, nothing changes.

    Attributes
    ----------
    asked : str or None
        Name of the signal that came.

    Examples
    --------
    >>> with Interruption() as interruption:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     interruption.asked
    'SIGTERM'
    """

    def __init__(self) -> None:
        self.asked: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {own: signal.signal(own, self._note) for own in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for own, handler in self._before.items():
            signal.signal(own, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
