"""Arithmetic on the lanes of one vector register, written as expressions and emitted as LLVM instructions.

The kernel's inner loops are spelled out here instead of being left to a compiler's vectoriser, which would
have to prove that nothing overlaps. Nothing is reassociated: the same expression gives the same bits on every
CPU that has a fused multiply-add.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from llvmlite import ir
from numba.core import cgutils

INDEX = ir.IntType(64)
WORD = ir.IntType(32)
FLOAT = ir.FloatType()


@dataclass(frozen=True)
class _Register:
    """What lies in the lanes of one register."""

    builder: Any
    value: Any

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return self.value.type.count

    def like(self, number: Self | float) -> Self:
        """Return a constant in every lane, or what is a vector already."""
        if isinstance(number, _Register):
            return number
        return type(self)(self.builder, ir.Constant(self.value.type, [number] * self.lanes))


class Floats(_Register):
    """As many float32 as a register has lanes."""

    def __add__(self, other: Floats | float) -> Floats:
        return Floats(self.builder, self.builder.fadd(self.value, self.like(other).value))

    def __sub__(self, other: Floats | float) -> Floats:
        return Floats(self.builder, self.builder.fsub(self.value, self.like(other).value))

    def __rsub__(self, other: float) -> Floats:
        return self.like(other) - self

    def __mul__(self, other: Floats | float) -> Floats:
        return Floats(self.builder, self.builder.fmul(self.value, self.like(other).value))

    def __truediv__(self, other: Floats | float) -> Floats:
        return Floats(self.builder, self.builder.fdiv(self.value, self.like(other).value))

    def __neg__(self) -> Floats:
        return Floats(self.builder, self.builder.fneg(self.value))

    def choose(
        self, comparison: str, bound: Floats | float, one: Floats | float, other: Floats | float
    ) -> Floats:
        """Return ``one`` where ``self <comparison> bound`` holds, ``other`` elsewhere: for NaN too."""
        holds = self.builder.fcmp_ordered(comparison, self.value, self.like(bound).value)
        return Floats(self.builder, self.builder.select(holds, self.like(one).value, self.like(other).value))

    def at_most(self, bound: float) -> Floats:
        """Return the smaller one of the two; NaN stays."""
        return self.choose(">", bound, bound, self)

    def at_least(self, bound: float) -> Floats:
        """Return the larger one of the two; NaN stays."""
        return self.choose("<", bound, bound, self)

    def times_plus(self, factor: Floats | float, term: Floats | float) -> Floats:
        """Return ``self * factor + term``, rounded once."""
        return self._call("fma", self.like(factor), self.like(term))

    def square_root(self) -> Floats:
        """Return the square root."""
        return self._call("sqrt")

    def magnitude(self) -> Floats:
        """Return the absolute value."""
        return self._call("fabs")

    def rounded(self) -> Floats:
        """Return the nearest whole number, ties to even."""
        return self._call("nearbyint")

    def whole(self) -> Words:
        """Return whole numbers as words of two's complement."""
        return Words(self.builder, self.builder.fptosi(self.value, ir.VectorType(WORD, self.lanes)))

    def bits(self) -> Words:
        """Return the words that hold these floats."""
        return Words(self.builder, self.builder.bitcast(self.value, ir.VectorType(WORD, self.lanes)))

    def _call(self, name: str, *others: Floats) -> Floats:
        kind = self.value.type
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(kind, [kind] * (1 + len(others))),
            f"llvm.{name}.v{self.lanes}f32",
        )
        return Floats(self.builder, self.builder.call(function, [self.value, *(own.value for own in others)]))


def polynomial(variable: Floats, coefficients: tuple[float, ...]) -> Floats:
    """Return a polynomial by Horner's rule, its highest coefficient given first."""
    total = variable.like(coefficients[0])
    for coefficient in coefficients[1:]:
        total = total.times_plus(variable, coefficient)
    return total


class Words(_Register):
    """As many 32-bit words as a register has lanes; arithmetic is modulo 2^32."""

    def __add__(self, other: Words | int) -> Words:
        return Words(self.builder, self.builder.add(self.value, self.like(other).value))

    def __sub__(self, other: Words | int) -> Words:
        return Words(self.builder, self.builder.sub(self.value, self.like(other).value))

    def __xor__(self, other: Words | int) -> Words:
        return Words(self.builder, self.builder.xor(self.value, self.like(other).value))

    def __lshift__(self, places: int) -> Words:
        return Words(self.builder, self.builder.shl(self.value, self.like(places).value))

    def arithmetic_shift(self, places: int) -> Words:
        """Return the words shifted to the right, their sign kept."""
        return Words(self.builder, self.builder.ashr(self.value, self.like(places).value))

    def product(self, factor: int) -> tuple[Words, Words]:
        """Return the high and the low words of the product with a constant."""
        builder, kind = self.builder, self.value.type
        pairs = ir.VectorType(INDEX, self.lanes // 2)

        def every(number: int) -> Any:
            return ir.Constant(pairs, [number] * (self.lanes // 2))

        # The CPU multiplies even lanes only: once as they are, once with the odd ones moved there.
        both = builder.bitcast(self.value, pairs)
        even = builder.mul(builder.and_(both, every(0xFFFF_FFFF)), every(factor))
        odd = builder.mul(builder.lshr(both, every(32)), every(factor))
        # The high word of each pair in turn, of the even lanes and the odd ones.
        order = [lane + 1 if lane % 2 == 0 else self.lanes + lane for lane in range(self.lanes)]
        above = builder.shuffle_vector(
            builder.bitcast(even, kind),
            builder.bitcast(odd, kind),
            ir.Constant(ir.VectorType(WORD, self.lanes), order),
        )
        return Words(builder, above), Words(builder, builder.mul(self.value, self.like(factor).value))

    def unsigned(self) -> Floats:
        """Return the words as whole numbers of at least 0, rounded to floats."""
        return Floats(self.builder, self.builder.uitofp(self.value, ir.VectorType(FLOAT, self.lanes)))

    def signed(self) -> Floats:
        """Return the words as whole numbers with a sign, rounded to floats."""
        return Floats(self.builder, self.builder.sitofp(self.value, ir.VectorType(FLOAT, self.lanes)))

    def floats(self) -> Floats:
        """Return the floats that these words hold."""
        return Floats(self.builder, self.builder.bitcast(self.value, ir.VectorType(FLOAT, self.lanes)))


def splat(builder: Any, scalar: Any, lanes: int) -> Any:
    """Return a scalar in every lane."""
    kind = ir.VectorType(scalar.type, lanes)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, WORD(0))
    return builder.shuffle_vector(
        first, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(WORD, lanes), [0] * lanes)
    )


@dataclass(frozen=True)
class Memory:
    """Float32 in memory from an address on; places are counted in floats."""

    builder: Any
    address: Any

    def moved(self, places: Any) -> Memory:
        """Return the memory that begins so many floats later."""
        return Memory(self.builder, self.builder.add(self.address, self.builder.mul(places, INDEX(4))))

    def every_lane(self, place: Any, lanes: int) -> Floats:
        """Read one float into every lane."""
        scalar = self.builder.load(self._pointer(place))
        scalar.align = 4
        return Floats(self.builder, splat(self.builder, scalar, lanes))

    def read(self, begin: Any, register: int, lanes: int) -> Floats:
        """Read the row's register of that number."""
        vector = self.builder.load(self._vector(begin, register, lanes))
        # No more than a float's own alignment is promised: an unaligned load of an aligned row costs nothing.
        vector.align = 4
        return Floats(self.builder, vector)

    def write(self, begin: Any, register: int, floats: Floats) -> None:
        """Write the row's register of that number."""
        self.builder.store(floats.value, self._vector(begin, register, floats.lanes)).align = 4

    def _pointer(self, place: Any) -> Any:
        return self.builder.gep(self.builder.inttoptr(self.address, FLOAT.as_pointer()), [place])

    def _vector(self, begin: Any, register: int, lanes: int) -> Any:
        place = self.builder.add(begin, INDEX(register * lanes))
        return self.builder.bitcast(self._pointer(place), ir.VectorType(FLOAT, lanes).as_pointer())


@dataclass
class Accumulator:
    """A vector that a loop adds to: kept in a register, since nothing ever takes its address."""

    builder: Any
    slot: Any
    lanes: int

    @classmethod
    def starting_at(cls, floats: Floats) -> Accumulator:
        """Make one that begins with a value."""
        slot = cgutils.alloca_once(floats.builder, floats.value.type)
        floats.builder.store(floats.value, slot)
        return cls(floats.builder, slot, floats.lanes)

    def get(self) -> Floats:
        """Return the value so far."""
        return Floats(self.builder, self.builder.load(self.slot))

    def set(self, floats: Floats) -> None:
        """Replace the value."""
        self.builder.store(floats.value, self.slot)


def zeros(builder: Any, lanes: int) -> Floats:
    """Return a vector of zeros."""
    return Floats(builder, ir.Constant(ir.VectorType(FLOAT, lanes), [0.0] * lanes))


def repeat(builder: Any, count: Any, body: Callable[[Any], None]) -> None:
    """Emit a loop; ``body`` is given the index."""
    with cgutils.for_range(builder, count, intp=INDEX) as loop:
        body(loop.index)
