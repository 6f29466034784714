"""Processes that are killed on purpose, for the benchmarks that do so."""

import os
import signal
import sys
import time
import traceback
from typing import Any


def child(work: Any, *arguments: Any) -> int:
    """Do something in a process of its own, and return its number.

    Forked after everything is imported, so that the moments fall into the work; what it holds open of ours it
    closes by ending without a word.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        work(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended_within(number: int, seconds: float) -> float | None:
    """Return after how long a process came to its end by itself; None where it was killed before that."""
    begun = time.perf_counter()
    while time.perf_counter() < begun + seconds:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            break
        time.sleep(min(1e-3, max(begun + seconds - time.perf_counter(), 0)))
    else:
        os.kill(number, signal.SIGKILL)
        _, status = os.waitpid(number, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"a process failed with status {code}")
    return time.perf_counter() - begun if code == 0 else None
