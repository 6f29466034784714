"""The scan over time in compiled code: forward and backward of a slice of trials."""

from __future__ import annotations

import functools
import hashlib
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import float32, int64, njit, types, void
from numba.core import event
from tqdm import tqdm

from neurornn.engine.fused import layout
from neurornn.engine.fused.tiles import (
    FEW_ROWS,
    LANES,
    PANEL,
    ROWS,
    Form,
    backward_tile,
    forward_tile,
    gradient_tile,
    normal_tile,
    projection_tile,
)
from neurornn.engine.philox import normals_by_torch

_FOLDER = pathlib.Path(__file__).parent
_SOURCES = hashlib.sha256(
    b"".join(path.read_bytes() for path in [*sorted(_FOLDER.glob("*.py")), _FOLDER.parent / "philox.py"])
).hexdigest()
"""Part of every kernel's name in the cache, which by itself looks at one file only."""

_VECTOR, _MATRIX, _CUBE = float32[::1], float32[:, ::1], float32[:, :, ::1]
_STRIDED = types.Array(types.float32, 3, "A")
_TWO, _THREE = types.UniTuple(int64, 2), types.UniTuple(int64, 3)


class _Announcer(event.Listener):
    """Says on one line that something is compiled, when it is."""

    def __init__(self, what: str) -> None:
        self.line: str | None = f"neurornn: compiling {what} for this CPU; it takes seconds, once"

    def on_start(self, event: Any) -> None:
        """Say it."""
        if self.line is not None:
            # Not print: a progress bar may be on the line.
            tqdm.write(self.line, file=sys.stderr)
        self.line = None

    def on_end(self, event: Any) -> None:
        """Say nothing more."""


def _compiled(what: str, *arguments: Any) -> Callable[[Callable[..., None]], Any]:
    """Compile a function for arguments of these types, or take it from numba's cache on the disk."""

    def compile(function: Callable[..., None]) -> Any:
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        with event.install_listener("numba:compile", _Announcer(what)):
            try:
                return njit(void(*arguments), cache=True, **options)(function)
            except RuntimeError:
                # numba finds no folder that it may write to: then every process compiles for itself.
                return njit(void(*arguments), **options)(function)

    return compile


@njit
def _address(array):
    """Return where an array lies, 0 where it is empty."""
    return int64(array.ctypes.data) if array.size else int64(0)


@njit
def _project(left, width, panels, result):
    """Write left @ panels + bias to the address ``result``; ``left`` is the address of `ROWS` rows."""
    n_panels, depth, columns = panels.shape
    for p in range(n_panels):
        panel = _address(panels) + 4 * p * depth * columns
        given = (left, width, depth - 1, panel, columns, result + 4 * p * columns, n_panels * columns)
        if columns == 4:
            projection_tile("4", 1, given)
        elif columns == 8:
            projection_tile("8", 1, given)
        elif columns == 16:
            projection_tile("16", 1, given)
        else:
            projection_tile("16", 2, given)


@functools.cache
def forward_kernel(form: Form) -> Any:
    """Return the compiled forward pass of a form.

    It is called with

    - ``slices``: the first one, the one after the last, and the trials in each
    - ``inputs`` (time, trial, input_channel); ``first_state``, ``first_rate`` (trial, unit)
    - ``panels`` of the recurrent and input weights and the bias; ``alpha``, ``scale`` (unit,)
    - ``key``: low and high word of the noise's key, and the number of the first step; ``normals`` (trial,
      unit) takes the noise of a step
    - ``readout``: panels of the output weight and bias
    - ``rates`` (slot, trial, unit): as many slots as steps, or two that are used in turn
    - ``others`` (slot, trial, unit): as many as steps or one; what `forward_tile` says
    - ``outputs`` (time, trial, output_channel)
    """
    text, current, noisy = f"{form} {_SOURCES}", form.dynamics == "current", form.noisy

    @_compiled(
        f"the forward pass of {form.in_words}",
        *(_THREE, _STRIDED, _MATRIX, _MATRIX, _CUBE, _VECTOR, _VECTOR, _THREE, _MATRIX, _CUBE, _CUBE, _CUBE),
        _CUBE,
    )
    def forward(
        slices,
        inputs,
        first_state,
        first_rate,
        panels,
        alpha,
        scale,
        key,
        normals,
        readout,
        rates,
        others,
        outputs,
    ):
        n_steps, n_trials, n_inputs = inputs.shape
        n_slots, _, width = rates.shape
        depth = panels.shape[1]
        n_units = depth - n_inputs - 1
        row = inputs.strides[1] // 4
        rate_step = rates.strides[0]
        other_step = others.strides[0] if len(others) > 1 else 0
        for begin in range(slices[0] * slices[2], min(slices[1] * slices[2], n_trials), slices[2]):
            end = min(begin + slices[2], n_trials)
            seen = previous = _address(first_rate)
            if current:
                previous = _address(first_state)
            for t in range(n_steps):
                x = _address(inputs) + t * inputs.strides[0]
                rate = _address(rates) + (t % n_slots) * rate_step
                other = _address(others) + t * other_step
                if noisy:
                    for b in range(begin, end, ROWS):
                        for j in range(0, width, LANES):
                            here = _address(normals) + 4 * (b * width + j)
                            normal_tile(text, 1, (key[0], key[1], key[2] + t, b, j, here, width))
                for j in range(0, width, PANEL):
                    panel = _address(panels) + 4 * j * depth
                    for b in range(begin, end, ROWS):
                        here = 4 * (b * width + j)
                        tile = (
                            seen + 4 * b * width, width, n_units, x + 4 * b * row, row, n_inputs,
                            panel, PANEL, previous + here, _address(alpha) + 4 * j, rate + here, other + here,
                            _address(normals) + here, _address(scale) + 4 * j,
                        )  # fmt: skip
                        if j + PANEL <= width:
                            forward_tile(text, 2, tile)
                        else:
                            forward_tile(text, 1, tile)
                for b in range(begin, end, ROWS):
                    y = _address(outputs) + t * outputs.strides[0] + b * outputs.strides[1]
                    _project(rate + 4 * b * width, width, readout, y)
                seen = previous = rate
                if current:
                    previous = other

    return forward


@functools.cache
def backward_kernel(form: Form) -> Any:
    """Return the compiled backward pass of a form.

    It is called with

    - ``slices``, ``inputs``, ``first_rate``, ``alpha``, ``rates`` as in the forward pass; ``hidden``: of what
      the activation's slope is told, f(u)
    - ``panels`` of the recurrent weight and a row of zeros, ``output_panels`` of the output weight
    - ``at_outputs`` (time, trial, output_channel), ``at_rates`` and ``at_states`` (time, trial, unit), the
      gradients that arrive; with no columns where none does
    - ``window``: first step's number and length of the windows that truncate the gradient (0: none)
    - ``carried`` (trial, unit): zeros; takes the state's gradient; ``at_first`` (trial, unit): takes what
      comes to the first rate by way of the first drive
    - ``input_panels`` of the input weight's columns and zeros, and ``at_inputs`` (time, trial,
      input_channel): empty where nobody asks for it
    - ``chunks`` (slice, step, trial, unit): takes the latest gradients of the drive
    - ``gradients`` (slice, row, unit): zeros; takes those of the recurrent, input and output weights and the
      bias, the last three from the rows ``rows`` on
    """
    text = f"{form} {_SOURCES}"

    @_compiled(
        f"the backward pass of {form.in_words}",
        *(_THREE, _STRIDED, _MATRIX, _VECTOR, _CUBE, _CUBE, _CUBE, _CUBE, _CUBE, _CUBE, _CUBE, _TWO),
        *(_MATRIX, _MATRIX, _CUBE, _CUBE, float32[:, :, :, ::1], _CUBE, _THREE),
    )
    def backward(
        slices, inputs, first_rate, alpha, rates, hidden, panels, output_panels, at_outputs, at_rates,
        at_states, window, carried, at_first, input_panels, at_inputs, chunks, gradients, rows,
    ):  # fmt: skip
        n_steps, n_trials, _ = inputs.shape
        width, n_outputs = rates.shape[2], at_outputs.shape[2]
        n_units = panels.shape[1] - 1
        depth = chunks.shape[1]
        chunk_step = slices[2] * width
        for number in range(slices[0], slices[1]):
            begin = number * slices[2]
            end = min(begin + slices[2], n_trials)
            chunk = _address(chunks) + 4 * number * depth * chunk_step
            for t in range(n_steps - 1, -1, -1):
                slot = (n_steps - 1 - t) % depth
                onward = chunk + 4 * ((slot - 1) % depth) * chunk_step
                result = chunk + 4 * slot * chunk_step
                n_onward = n_units if t < n_steps - 1 else 0
                if window[1] and (window[0] + t + 1) % window[1] == 0:
                    n_onward = 0
                    carried[begin:end] = 0
                for j in range(0, width, PANEL):
                    panel = _address(panels) + 4 * j * (n_units + 1)
                    output_panel = _address(output_panels) + 4 * j * n_outputs
                    for b in range(begin, end, ROWS):
                        here = 4 * (b * width + j)
                        there = 4 * t * n_trials * width + here
                        inside = 4 * ((b - begin) * width)
                        tile = (
                            onward + inside, width, n_onward, panel, PANEL,
                            _address(at_outputs) + 4 * (t * n_trials + b) * n_outputs, n_outputs, n_outputs,
                            output_panel,
                            _address(at_rates) + there if at_rates.size else 0,
                            _address(at_states) + there if at_states.size else 0,
                            _address(hidden) + there, _address(alpha) + 4 * j, _address(carried) + here,
                            result + inside + 4 * j,
                            _address(gradients[number]) + 4 * (rows[2] * width + j),
                        )  # fmt: skip
                        if j + PANEL <= width:
                            backward_tile(text, 2, tile)
                        else:
                            backward_tile(text, 1, tile)
                if at_inputs.size:
                    for b in range(begin, end, ROWS):
                        x = _address(at_inputs) + t * at_inputs.strides[0] + b * at_inputs.strides[1]
                        _project(result + 4 * (b - begin) * width, width, input_panels, x)
                if slot == depth - 1 or t == 0:
                    _add_weight_gradients(
                        begin, end, t, slot, chunk, chunk_step, inputs, first_rate, rates, at_outputs,
                        n_units, gradients[number], rows,
                    )  # fmt: skip

            for b in range(begin, end, ROWS):
                first = _address(at_first) + b * at_first.strides[0]
                _project(result + 4 * (b - begin) * width, width, panels, first)

    return backward


@njit
def _add_weight_gradients(
    begin, end, t, slot, chunk, chunk_step, inputs, first_rate, rates, at_outputs, n_units, gradients, rows
):
    """Add what a chunk of steps gives, all at once: its first row is the latest step, its last one ``t``."""
    _, n_trials, n_inputs = inputs.shape
    width, n_outputs = rates.shape[2], at_outputs.shape[2]
    row, step, rate_step = inputs.strides[1] // 4, inputs.strides[0] // 4, n_trials * width
    latest, count, n_all = t + slot, end - begin, slot + 1
    # What the first step of all saw lies apart from the rates.
    n_later = n_all if t else n_all - 1
    first_drive = chunk + 4 * slot * chunk_step
    rate = _address(rates) + 4 * ((latest * n_trials + begin) * width)
    x = _address(inputs) + 4 * (latest * step + begin * row)
    y = _address(at_outputs) + 4 * (latest * n_trials + begin) * n_outputs
    for j in range(0, width, PANEL):
        whole = j + PANEL <= width
        first_seen = _address(first_rate) + 4 * (begin * width + j)
        for i in range(0, n_units, ROWS):
            total = _address(gradients) + 4 * (i * width + j)
            seen = rate + 4 * (j - rate_step)
            later = (chunk + 4 * i, width, chunk_step, seen, width, -rate_step, count, n_later, total, width)
            first = (
                first_drive + 4 * i,
                width,
                0,
                first_seen,
                width,
                0,
                count,
                n_all - n_later,
                total,
                width,
            )
            if whole:
                gradient_tile("all", 2, later)
                gradient_tile("all", 2, first)
            else:
                gradient_tile("all", 1, later)
                gradient_tile("all", 1, first)
        for i in range(0, n_inputs, FEW_ROWS):
            total = _address(gradients) + 4 * ((rows[0] + i) * width + j)
            tile = (x + 4 * i, row, -step, chunk + 4 * j, width, chunk_step, count, n_all, total, width)
            if whole:
                gradient_tile("few", 2, tile)
            else:
                gradient_tile("few", 1, tile)
        for i in range(0, n_outputs, FEW_ROWS):
            total = _address(gradients) + 4 * ((rows[1] + i) * width + j)
            back = -n_trials * n_outputs
            tile = (y + 4 * i, n_outputs, back, rate + 4 * j, width, -rate_step, count, n_all, total, width)
            if whole:
                gradient_tile("few", 2, tile)
            else:
                gradient_tile("few", 1, tile)


@functools.cache
def _normals_kernel() -> Any:
    text = _SOURCES

    @_compiled("the random numbers of recurrent noise", _THREE, _CUBE)
    def fill(key, result):
        n_steps, n_trials, width = result.shape
        for t in range(n_steps):
            for b in range(0, n_trials, ROWS):
                for j in range(0, width, LANES):
                    here = _address(result) + 4 * ((t * n_trials + b) * width + j)
                    normal_tile(text, 1, (key[0], key[1], key[2] + t, b, j, here, width))

    return fill


def normals(shape: tuple[int, int, int], key: tuple[int, int, int]) -> torch.Tensor:
    """Return the standard normals of (time, trial, unit) of a key's two words and a first step."""
    n_steps, n_trials, n_units = shape
    whole = (n_steps, layout.padded_trials(n_trials), layout.padded_units(n_units))
    # NumPy's memory: torch.func, a default dtype or a default device would change what torch.empty means.
    result = np.empty(whole, np.float32)
    _normals_kernel()(key, result)
    return torch.from_numpy(result)[:, :n_trials, :n_units]


def reason_not_to_compile() -> str | None:
    """Say why compiled code cannot be trusted here: its random numbers must be those of torch."""
    shape, key = (2, 5, 3), (1, 2, 3)
    try:
        found = normals(shape, key)
    except Exception as error:
        # Whatever a compiler can raise: the torch engine serves as well.
        return f"numba cannot compile the kernel here ({type(error).__name__}: {error})"
    wanted = normals_by_torch(shape, key, "cpu")
    # Two ways to round a logarithm and a sine, of normals up to 7.
    right = torch.allclose(found, wanted, rtol=0, atol=1e-5)
    return None if right else "the kernel that numba compiles here gives wrong numbers"
