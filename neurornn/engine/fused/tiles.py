"""The kernel's inner loops: one tile of a matrix product in registers, and what happens to it there.

A tile is `ROWS` trials by one or two registers of units. Its sums stay in registers from the bias to the
activation, or from the readout's gradient to that of the drive, so that memory sees each number once. Weights
lie in panels, as wide as a tile and read from front to back; the entries of the other factor are read one by
one into every lane.

The functions here are called by numba-compiled code with addresses in bytes and distances in floats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import config, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

from neurornn.engine.fused.elementwise import ACTIVATIONS, Synapses, clipped, normal_pair
from neurornn.engine.fused.philox import philox
from neurornn.engine.fused.vectors import (
    INDEX,
    WORD,
    Accumulator,
    Floats,
    Memory,
    Words,
    repeat,
    splat,
    zeros,
)


def _tile_of_this_cpu() -> tuple[int, int]:
    """Return the rows and lanes of a tile whose sums fit the registers of the CPU that numba compiles for."""
    # As numba decides it: NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX stand above what the CPU has.
    chosen = config.CPU_FEATURES  # type: ignore[attr-defined]
    text = get_host_cpu_features() if chosen is None else chosen
    features = set(text.split(","))
    if "+avx512f" in features:
        return 8, 16
    if {"+avx2", "+fma"} <= features:
        return 4, 8
    return 8, 4


ROWS, LANES = _tile_of_this_cpu()
PANEL = 2 * LANES
"""Units of a whole tile."""
FEW_ROWS = 4
"""Rows of a tile of the input or output weight's gradient, which often have few channels."""


@dataclass(frozen=True)
class Form:
    """What of the network's equation is built into a compiled kernel."""

    activation: str
    dynamics: str
    leaky: bool
    noisy: bool
    plastic: bool

    def __str__(self) -> str:
        leak = "leaky" if self.leaky else "plain"
        noise = "noisy" if self.noisy else "silent"
        return f"{self.activation} {self.dynamics} {leak} {noise} {'plastic' if self.plastic else 'static'}"

    @property
    def in_words(self) -> str:
        """The networks that have this form."""
        found = f"{self.activation} networks with {self.dynamics} dynamics"
        parts = {"leak": self.leaky, "noise": self.noisy, "short-term plasticity": self.plastic}
        return ", ".join([found, *(name for name, there in parts.items() if there)])

    @classmethod
    def read(cls, text: str) -> Form:
        """Return the form that a text names."""
        activation, dynamics, leak, noise, synapses = text.split()[:5]
        return cls(activation, dynamics, leak == "leaky", noise == "noisy", synapses == "plastic")


@dataclass(frozen=True)
class Tile:
    """The sums of a tile, row by row."""

    builder: Any
    sums: list[list[Accumulator]]

    @classmethod
    def starting_at(cls, rows: int, vectors: int, start: Callable[[int, int], Floats]) -> Tile:
        """Make a tile of what ``start`` returns for a row and a register."""
        sums = [[Accumulator.starting_at(start(row, v)) for v in range(vectors)] for row in range(rows)]
        return cls(sums[0][0].builder, sums)

    def add_product(self, count: Any, left: Memory, row: Any, along: Any, right: Memory, width: Any) -> None:
        """Add left @ right: entries of ``left`` lie ``row`` and ``along`` apart."""
        repeat(self.builder, count, lambda k: self._add_outer(k, left, row, along, right, width))

    def add_transposed(self, count: Any, left: Memory, left_width: Any, right: Memory, width: Any) -> None:
        """Add left' @ right of ``count`` rows each, a multiple of `ROWS`."""
        builder = self.builder

        def several(group: Any) -> None:
            # Written out: a loop of so few turns would cost a tenth of it.
            for k in range(ROWS):
                place = builder.add(builder.mul(group, INDEX(ROWS)), INDEX(k))
                self._add_outer(place, left, INDEX(1), left_width, right, width)

        repeat(builder, builder.udiv(count, INDEX(ROWS)), several)

    def _add_outer(self, k: Any, left: Memory, row: Any, along: Any, right: Memory, width: Any) -> None:
        """Add the product of the left factor's column k and the right one's row k."""
        builder = self.builder
        begin, place = builder.mul(k, width), builder.mul(k, along)
        across = [right.read(begin, v, total.lanes) for v, total in enumerate(self.sums[0])]
        for m, sums in enumerate(self.sums):
            entry = left.every_lane(builder.add(place, builder.mul(INDEX(m), row)), across[0].lanes)
            for total, own in zip(sums, across, strict=True):
                total.set(entry.times_plus(own, total.get()))

    def add_where_given(self, memory: Memory, width: Any) -> None:
        """Add what lies in memory, unless its address is 0."""
        builder = self.builder
        with builder.if_then(builder.icmp_signed("!=", memory.address, INDEX(0))):
            for row, v, begin, value in self.each(width):
                self.sums[row][v].set(value + memory.read(begin, v, value.lanes))

    def each(self, width: Any) -> Any:
        """Yield row, register, distance of the row in memory, and sum, one register's rows after another."""
        for v in range(len(self.sums[0])):
            for row, sums in enumerate(self.sums):
                yield row, v, self.builder.mul(INDEX(row), width), sums[v].get()


def _callable_by_numba(parameters: str) -> Callable[[Callable[..., None]], Any]:
    """Make a function for compiled code of one that emits instructions for arguments given by name.

    It is called with a text that decides what is emitted, a number of registers, and a tuple of all the rest.
    """
    names = parameters.split()

    def make(emit: Callable[..., None]) -> Any:
        def typing(context: Any, choice: Any, vectors: Any, arguments: Any) -> Any:
            if not (isinstance(choice, types.StringLiteral) and isinstance(vectors, types.IntegerLiteral)):
                return None
            assert len(arguments) == len(names)

            def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                given = {name: builder.extract_value(values[2], k) for k, name in enumerate(names)}
                emit(builder, choice.literal_value, vectors.literal_value, **given)
                return context.get_dummy_value()

            return types.void(choice, vectors, arguments), generate

        return intrinsic(prefer_literal=True)(typing)

    return make


@_callable_by_numba(
    "seen seen_row n_seen x x_row n_inputs panel columns width previous alpha rate other normals scale "
    "synapses later plane constants"
)
def forward_tile(builder: Any, choice: str, vectors: int, **given: Any) -> None:
    """Take a tile through one step: drive, noise, activation, leak and plasticity.

    ``panel`` holds recurrent weights, input weights and the bias, one below the other. ``other`` takes f(u)
    of leaky rate dynamics, or the state of current dynamics. ``normals`` are there where there is noise, and
    where synapses are plastic x and u, ``plane`` apart; ``later`` takes those of the next step and, another
    plane on, what they let through of the new rate.
    """
    form = Form.read(choice)
    memory = {name: Memory(builder, value) for name, value in given.items()}
    width, columns, one = given["width"], given["columns"], INDEX(1)
    input_rows = memory["panel"].moved(builder.mul(given["n_seen"], columns))
    bias_row = input_rows.moved(builder.mul(given["n_inputs"], columns))
    bias = [bias_row.read(INDEX(0), v, LANES) for v in range(vectors)]
    tile = Tile.starting_at(ROWS, vectors, lambda row, v: bias[v])
    tile.add_product(given["n_seen"], memory["seen"], given["seen_row"], one, memory["panel"], columns)
    tile.add_product(given["n_inputs"], memory["x"], given["x_row"], one, input_rows, columns)

    activation, _ = ACTIVATIONS[form.activation]
    alpha = [memory["alpha"].read(INDEX(0), v, LANES) for v in range(vectors)] if form.leaky else []
    scale = [memory["scale"].read(INDEX(0), v, LANES) for v in range(vectors)]
    synapses = [_synapses(memory["constants"], width, v) for v in range(vectors)] if form.plastic else []
    planes = [builder.mul(given["plane"], INDEX(k)) for k in range(3)]
    for _, v, begin, driven in tile.each(width):
        if form.noisy and form.dynamics == "rate":
            driven = memory["normals"].read(begin, v, LANES).times_plus(scale[v], driven)
        new = activation(driven) if form.dynamics == "rate" else driven
        if form.leaky:
            if form.dynamics == "rate":
                memory["other"].write(begin, v, new)
            old = memory["previous"].read(begin, v, LANES)
            new = (new - old).times_plus(alpha[v], old)
        if form.dynamics == "current":
            if form.noisy:
                new = memory["normals"].read(begin, v, LANES).times_plus(scale[v], new)
            memory["other"].write(begin, v, new)
            new = activation(new)
        memory["rate"].write(begin, v, new)
        if form.plastic:
            places = [builder.add(begin, plane) for plane in planes]
            resources, use = (memory["synapses"].read(place, v, LANES) for place in places[:2])
            resources, use = (clipped(own) for own in synapses[v].unclipped(resources, use, new))
            for place, own in zip(places, (resources, use, use * resources * new), strict=True):
                memory["later"].write(place, v, own)


def _synapses(constants: Memory, width: Any, v: int) -> Synapses:
    """Read what does not change about the synapses of one register of units."""
    builder = constants.builder
    return Synapses(*(constants.read(builder.mul(INDEX(k), width), v, LANES) for k in range(4)))


@_callable_by_numba("key_low key_high step trial unit result width")
def normal_tile(builder: Any, choice: str, vectors: int, **given: Any) -> None:
    """Write the standard normals of a tile."""
    result = Memory(builder, given["result"])
    for row in range(0, ROWS, 4):
        for v in range(vectors):
            for k, normal in enumerate(_normals(builder, given, row, v)):
                result.write(builder.mul(INDEX(row + k), given["width"]), v, normal)


def _normals(builder: Any, given: dict[str, Any], row: int, v: int) -> tuple[Floats, ...]:
    """Return the standard normals of four rows of a tile, from a multiple of four on, in one register."""

    def word(value: Any, shift: int = 0) -> Any:
        return builder.trunc(builder.lshr(value, INDEX(shift)), WORD)

    def everywhere(value: Any) -> Words:
        return Words(builder, splat(builder, value, LANES))

    line = Words(builder, ir.Constant(ir.VectorType(WORD, LANES), list(range(LANES))))
    units = everywhere(word(builder.add(given["unit"], INDEX(v * LANES)))) + line
    # Four trials in a row share a counter: one of its four words each.
    group = everywhere(word(builder.add(given["trial"], INDEX(row)), 2))
    counter = (units, group, everywhere(word(given["step"])), units ^ units)
    words = philox(counter, (word(given["key_low"]), word(given["key_high"])))
    return normal_pair(words[0], words[1]) + normal_pair(words[2], words[3])


@_callable_by_numba(
    "onward onward_row n_onward panel columns width at_outputs y_row n_outputs output_panel at_rates "
    "at_states hidden alpha carried result bias_gradient rate synapses plane constants at_synapses "
    "synapses_carried"
)
def backward_tile(builder: Any, choice: str, vectors: int, **given: Any) -> None:
    """Take the gradient of a tile back through one step, to that of the drive.

    ``onward`` is the drive's gradient one step later (of low rank, that of what the recurrent weight is
    applied to), ``carried`` the state's, which the leak brings back, ``synapses_carried`` that of x and u.
    Where nothing arrives at the rates, states or synapses, their addresses are 0.
    """
    form = Form.read(choice)
    memory = {name: Memory(builder, value) for name, value in given.items()}
    width, columns, one = given["width"], given["columns"], INDEX(1)
    tile = Tile.starting_at(ROWS, vectors, lambda row, v: zeros(builder, LANES))
    tile.add_product(given["n_onward"], memory["onward"], given["onward_row"], one, memory["panel"], columns)
    if form.plastic:
        _back_through_synapses(builder, tile, memory, given)
    tile.add_product(
        given["n_outputs"], memory["at_outputs"], given["y_row"], one, memory["output_panel"], columns
    )
    tile.add_where_given(memory["at_rates"], width)
    _, slope = ACTIVATIONS[form.activation]
    if form.dynamics == "current":
        for row, v, begin, arriving in tile.each(width):
            tile.sums[row][v].set(arriving * slope(memory["hidden"].read(begin, v, LANES)))
    if form.dynamics == "current" or form.plastic:
        # Else nothing but the rates is a state.
        tile.add_where_given(memory["at_states"], width)
    alpha = [memory["alpha"].read(INDEX(0), v, LANES) for v in range(vectors)] if form.leaky else []
    totals = [memory["bias_gradient"].read(INDEX(0), v, LANES) for v in range(vectors)]
    for _, v, begin, gradient in tile.each(width):
        if form.leaky:
            gradient = (1.0 - alpha[v]).times_plus(memory["carried"].read(begin, v, LANES), gradient)
            memory["carried"].write(begin, v, gradient)
            gradient = gradient * alpha[v]
        if form.dynamics == "rate":
            gradient = gradient * slope(memory["hidden"].read(begin, v, LANES))
        memory["result"].write(begin, v, gradient)
        totals[v] = totals[v] + gradient
    for v, total in enumerate(totals):
        memory["bias_gradient"].write(INDEX(0), v, total)


def _back_through_synapses(
    builder: Any, tile: Tile, memory: dict[str, Memory], given: dict[str, Any]
) -> None:
    """Turn the gradient of what synapses let through into that of the rates, and carry that of x and u on."""
    width, planes = given["width"], (INDEX(0), given["plane"])
    constants = [_synapses(memory["constants"], width, v) for v in range(len(tile.sums[0]))]
    for row, v, begin, at_sent in tile.each(width):
        places = [builder.add(begin, plane) for plane in planes]
        resources, use = (memory["synapses"].read(place, v, LANES) for place in places)
        at_resources, at_use = (memory["synapses_carried"].read(place, v, LANES) for place in places)
        rate = memory["rate"].read(begin, v, LANES)
        *at_both, at_rate = constants[v].back((resources, use, rate), at_resources, at_use, at_sent)
        tile.sums[row][v].set(at_rate)
        for place, own in zip(places, at_both, strict=True):
            memory["synapses_carried"].write(place, v, own)
    arriving = memory["at_synapses"]
    with builder.if_then(builder.icmp_signed("!=", arriving.address, INDEX(0))):
        for _, v, begin, _ in tile.each(width):
            for plane in planes:
                place = builder.add(begin, plane)
                own = memory["synapses_carried"].read(place, v, LANES)
                memory["synapses_carried"].write(place, v, own + arriving.read(place, v, LANES))


@_callable_by_numba("left left_width left_step right right_width right_step count n_steps total total_width")
def gradient_tile(builder: Any, choice: str, vectors: int, **given: Any) -> None:
    """Add left' @ right of every step to a tile of a weight's gradient, of ``"all"`` or ``"few"`` rows."""
    left, right, total = (Memory(builder, given[name]) for name in ("left", "right", "total"))
    width = given["total_width"]
    tile = Tile.starting_at(
        ROWS if choice == "all" else FEW_ROWS,
        vectors,
        lambda row, v: total.read(builder.mul(INDEX(row), width), v, LANES),
    )

    def step(t: Any) -> None:
        tile.add_transposed(
            given["count"],
            left.moved(builder.mul(t, given["left_step"])),
            given["left_width"],
            right.moved(builder.mul(t, given["right_step"])),
            given["right_width"],
        )

    repeat(builder, given["n_steps"], step)
    for _, v, begin, value in tile.each(width):
        total.write(begin, v, value)


@_callable_by_numba("left width count panel columns result result_width")
def projection_tile(builder: Any, choice: str, vectors: int, **given: Any) -> None:
    """Write left @ panel + bias, the panel's last row; ``choice`` is the number of lanes."""
    lanes = int(choice)
    left, panel, result = (Memory(builder, given[name]) for name in ("left", "panel", "result"))
    bias_row = panel.moved(builder.mul(given["count"], given["columns"]))
    bias = [bias_row.read(INDEX(0), v, lanes) for v in range(vectors)]
    tile = Tile.starting_at(ROWS, vectors, lambda row, v: bias[v])
    tile.add_product(given["count"], left, given["width"], INDEX(1), panel, given["columns"])
    for _, v, begin, value in tile.each(given["result_width"]):
        result.write(begin, v, value)
