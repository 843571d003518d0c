"""
Predicates over the statistics of batches.

A predicate is a tree. Its evaluation takes all batches at once. For each batch, it
returns the outcomes that the predicate may have in some row: true, false, null.

    batch with x from 0 to 3             x < 5 is true.
    batch with x from 0 to 9, one null   x < 5 is true, false or null.
    batch with x from 7 to 9             x < 5 is false.

An outcome that occurs in a row is always returned. A batch without the outcome "true" has
no rows for a filter. If "true" is its only outcome, the filter keeps all its rows. If the
statistics do not decide a part of a filter, that part is `Unknown`: it has all outcomes.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ._literals import FALSE, TRUE

# Child indices from the schema to a field: (3,) is column 3, (3, 0) its first child.
Path = tuple[int, ...]

# Above this number, values of a set are compared as ranges of neighbouring values.
_MAX_RANGES = 64


class UndecidedError(Exception):
    """The statistics cannot decide a comparison."""


def comparable_type(kind: pa.DataType) -> pa.DataType:
    """Return a type with the same values, which pyarrow compares."""
    t = pa.types
    if t.is_float16(kind):
        return pa.float32()
    # The common type of two decimals may need more than 38 digits.
    if t.is_decimal(kind) and kind.precision <= 38:
        return pa.decimal256(kind.precision, kind.scale)
    if kind in (pa.string_view(), pa.string()):
        return pa.large_string()
    if kind in (pa.binary_view(), pa.binary()) or t.is_fixed_size_binary(kind):
        return pa.large_binary()
    return kind


def _family(kind: pa.DataType) -> str:
    """Return the type's family. Values of one family are compared exactly."""
    t = pa.types
    if t.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "instant"
    tests: list[tuple[str, Callable[[pa.DataType], bool]]] = [
        ("boolean", t.is_boolean),
        ("number", t.is_integer),
        ("number", t.is_floating),
        ("decimal", t.is_decimal),
        ("text", t.is_large_string),
        ("bytes", t.is_large_binary),
        ("date", t.is_date),
        ("time", t.is_time),
        ("duration", t.is_duration),
    ]
    for name, test in tests:
        if test(kind):
            return name
    raise UndecidedError


def is_nan(value: pa.Scalar) -> bool:
    """Return whether a scalar is NaN."""
    return bool(pa.types.is_floating(value.type) and value.is_valid) and (
        value.as_py() != value.as_py()
    )


@dataclasses.dataclass(frozen=True)
class Leaf:
    """The statistics of a leaf: a value for each batch, with null for "unknown"."""

    # The smallest and largest values; NaN is neither.
    minimum: pa.Array
    maximum: pa.Array
    # Whether there may be nulls, NaN, and values that are neither.
    has_null: pa.BooleanArray
    has_nan: pa.BooleanArray
    has_value: pa.BooleanArray
    # A null value of a dictionary is no null of its column, for some functions.
    is_dictionary: bool = False

    def first(self, batches: int) -> Leaf:
        """Return the statistics of the first batches."""
        if len(self.minimum) == batches:
            return self
        return Leaf(
            self.minimum[:batches],
            self.maximum[:batches],
            self.has_null[:batches],
            self.has_nan[:batches],
            self.has_value[:batches],
            self.is_dictionary,
        )

    def literal(self, value: pa.Scalar) -> pa.Scalar:
        """Return a literal as it is compared with the bounds."""
        kind = self.minimum.type
        if is_nan(value):
            raise UndecidedError
        value = value.cast(comparable_type(value.type))
        families = {_family(kind), _family(value.type)}
        # Integers and decimals are compared exactly, unlike decimals and floats.
        is_exact = pa.types.is_integer(kind) or pa.types.is_integer(value.type)
        is_exact |= pa.types.is_date32(kind) and pa.types.is_timestamp(value.type)
        pairs = ({"number", "decimal"}, {"date", "timestamp"})
        if len(families) > 1 and not (families in pairs and is_exact):
            raise UndecidedError
        if pa.types.is_timestamp(kind) and kind.tz != value.type.tz:
            return value.cast(pa.timestamp(value.type.unit, kind.tz))
        return value

    def lower(self, compare: Callable[[Any, Any], Any], value: pa.Scalar) -> pa.Array:
        """Return whether the minima compare so; if a minimum is unknown, it may."""
        return pc.fill_null(compare(self.minimum, value), TRUE)

    def upper(self, compare: Callable[[Any, Any], Any], value: pa.Scalar) -> pa.Array:
        """Return whether the maxima compare so; if a maximum is unknown, it may."""
        return pc.fill_null(compare(self.maximum, value), TRUE)


# The leaves that have statistics.
Leaves = Mapping[Path, Leaf]


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """The outcomes that a predicate may have: a boolean for all or for each batch."""

    true: Any
    false: Any
    null: Any


_ALL = Outcomes(TRUE, TRUE, TRUE)


class Predicate:
    """A node of the tree."""

    def outcomes(self, leaves: Leaves) -> Outcomes:
        """Return the outcomes; raises `UndecidedError` or an error of pyarrow."""
        raise NotImplementedError

    def paths(self) -> Iterator[Path]:
        """Yield the paths of the leaves in the tree."""
        yield from ()


@dataclasses.dataclass(frozen=True)
class Unknown(Predicate):
    """A condition that the statistics do not decide."""

    def outcomes(self, leaves: Leaves) -> Outcomes:
        return _ALL


@dataclasses.dataclass(frozen=True)
class Constant(Predicate):
    """True, false or null (None) in every row."""

    value: bool | None

    def outcomes(self, leaves: Leaves) -> Outcomes:
        outcomes = (self.value is one for one in (True, False, None))
        return Outcomes(*(TRUE if one else FALSE for one in outcomes))


@dataclasses.dataclass(frozen=True)
class _OfLeaf(Predicate):
    """A condition on the values of a leaf."""

    path: Path

    def paths(self) -> Iterator[Path]:
        yield self.path

    def outcomes(self, leaves: Leaves) -> Outcomes:
        leaf = leaves.get(self.path)
        return _ALL if leaf is None else self._outcomes(leaf)

    def _outcomes(self, leaf: Leaf) -> Outcomes:
        raise NotImplementedError


def _less(leaf: Leaf, value: pa.Scalar) -> tuple[Any, Any]:
    return leaf.lower(pc.less, value), leaf.upper(pc.greater_equal, value)


def _less_equal(leaf: Leaf, value: pa.Scalar) -> tuple[Any, Any]:
    return leaf.lower(pc.less_equal, value), leaf.upper(pc.greater, value)


def _equal(leaf: Leaf, value: pa.Scalar) -> tuple[Any, Any]:
    around = pc.and_(
        leaf.lower(pc.less_equal, value), leaf.upper(pc.greater_equal, value)
    )
    return around, pc.or_(leaf.lower(pc.less, value), leaf.upper(pc.greater, value))


# The function of each comparison, and whether its two answers are swapped: whether values
# may satisfy the comparison, and whether they may fail it.
_COMPARISONS: dict[str, tuple[Callable[[Leaf, pa.Scalar], tuple[Any, Any]], bool]] = {
    "less": (_less, False),
    "greater_equal": (_less, True),
    "less_equal": (_less_equal, False),
    "greater": (_less_equal, True),
    "equal": (_equal, False),
    "not_equal": (_equal, True),
}

# The comparison with its operands exchanged.
FLIPPED = {
    "less": "greater",
    "greater_equal": "less_equal",
    "less_equal": "greater_equal",
    "greater": "less",
    "equal": "equal",
    "not_equal": "not_equal",
}


@dataclasses.dataclass(frozen=True)
class Compare(_OfLeaf):
    """
    A comparison of a leaf with a literal, as pyarrow names it: "less", "equal".

    Engines differ about NaN. A comparison with NaN in a column may be true and false.
    """

    op: str
    value: pa.Scalar

    def _outcomes(self, leaf: Leaf) -> Outcomes:
        if not self.value.is_valid:
            return Outcomes(FALSE, FALSE, TRUE)
        compare, is_swapped = _COMPARISONS[self.op]
        pair = compare(leaf, leaf.literal(self.value))
        true, false = (pc.or_(pc.and_(one, leaf.has_value), leaf.has_nan) for one in pair)
        if is_swapped:
            true, false = false, true
        return Outcomes(true, false, leaf.has_null)


def _cast_exactly(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return values of another type; raises if a value would change."""
    if values.type == kind:
        return values
    if _family(values.type) != _family(kind):
        raise UndecidedError
    cast = values.cast(kind)
    if not cast.cast(values.type).equals(values):
        raise UndecidedError
    return cast


def _ranges(values: pa.Array) -> Iterator[tuple[pa.Scalar, pa.Scalar]]:
    """Yield ranges that cover the values, each the smallest and the largest value."""
    values = values.take(pc.sort_indices(values))
    step = -(-len(values) // _MAX_RANGES)
    for start in range(0, len(values), max(step, 1)):
        yield values[start], values[min(start + step, len(values)) - 1]


@dataclasses.dataclass(frozen=True)
class IsIn(_OfLeaf):
    """Whether a value is in a set without nulls."""

    values: pa.Array
    # The outcome of a null, and of a value that is not in the set.
    of_null: bool | None = None
    of_absent: bool | None = False

    def _outcomes(self, leaf: Leaf) -> Outcomes:
        kind = leaf.minimum.type
        values = self.values.cast(comparable_type(self.values.type))
        if pa.types.is_floating(kind) and pc.any(pc.is_nan(values)).as_py():
            raise UndecidedError
        values = _cast_exactly(values, kind)
        true: Any = FALSE
        only: Any = FALSE
        for low, high in _ranges(values):
            overlap = pc.and_(
                leaf.lower(pc.less_equal, high), leaf.upper(pc.greater_equal, low)
            )
            true = pc.or_(true, overlap)
            # Engines differ about zeros: a set of 0.0 may lack -0.0.
            is_zero = pa.types.is_floating(kind) and low.as_py() == 0
            if low.equals(high) and not is_zero:
                only = pc.or_(only, pc.invert(_equal(leaf, low)[1]))
        true, absent = (
            pc.or_(pc.and_(one, leaf.has_value), leaf.has_nan)
            for one in (true, pc.invert(only))
        )
        false, null = FALSE, FALSE
        if leaf.is_dictionary:
            true, false = (pc.or_(one, leaf.has_null) for one in (true, false))
            null = leaf.has_null
        for of, mask in ((self.of_absent, absent), (self.of_null, leaf.has_null)):
            if of is None:
                null = pc.or_(null, mask)
            elif of:
                true = pc.or_(true, mask)
            else:
                false = pc.or_(false, mask)
        return Outcomes(true, false, null)


@dataclasses.dataclass(frozen=True)
class IsNull(_OfLeaf):
    """Whether a value is null, or NaN where `or_nan`."""

    or_nan: bool = False

    def _outcomes(self, leaf: Leaf) -> Outcomes:
        true, false = leaf.has_null, leaf.has_value
        if leaf.is_dictionary:
            false = pc.or_(false, true)
        if self.or_nan:
            return Outcomes(pc.or_(true, leaf.has_nan), false, FALSE)
        return Outcomes(true, pc.or_(false, leaf.has_nan), FALSE)


@dataclasses.dataclass(frozen=True)
class IsNan(_OfLeaf):
    """Whether a value is NaN."""

    def _outcomes(self, leaf: Leaf) -> Outcomes:
        return Outcomes(leaf.has_nan, leaf.has_value, leaf.has_null)


@dataclasses.dataclass(frozen=True)
class _Compound(Predicate):
    """A condition on conditions."""

    parts: tuple[Predicate, ...]

    def paths(self) -> Iterator[Path]:
        for part in self.parts:
            yield from part.paths()


def _or(masks: Sequence[Any]) -> Any:
    return functools.reduce(pc.or_, masks)


def _and(masks: Sequence[Any]) -> Any:
    return functools.reduce(pc.and_, masks)


@dataclasses.dataclass(frozen=True)
class And(_Compound):
    """All conditions are true: in Kleene's logic, or null if one is null (`strict`)."""

    strict: bool = False

    def outcomes(self, leaves: Leaves) -> Outcomes:
        parts = [evaluated(part, leaves) for part in self.parts]
        null = _or([part.null for part in parts])
        if not self.strict:
            # The other parts are true or null.
            null = pc.and_(null, _and([pc.or_(part.true, part.null) for part in parts]))
        true = _and([part.true for part in parts])
        return Outcomes(true, _or([part.false for part in parts]), null)


@dataclasses.dataclass(frozen=True)
class Or(_Compound):
    """A condition is true: in Kleene's logic, or null if one is null (`strict`)."""

    strict: bool = False

    def outcomes(self, leaves: Leaves) -> Outcomes:
        parts = [evaluated(part, leaves) for part in self.parts]
        null = _or([part.null for part in parts])
        if not self.strict:
            # The other parts are false or null.
            null = pc.and_(null, _and([pc.or_(part.false, part.null) for part in parts]))
        false = _and([part.false for part in parts])
        return Outcomes(_or([part.true for part in parts]), false, null)


@dataclasses.dataclass(frozen=True)
class Not(Predicate):
    """A condition is false."""

    part: Predicate

    def paths(self) -> Iterator[Path]:
        return self.part.paths()

    def outcomes(self, leaves: Leaves) -> Outcomes:
        part = evaluated(self.part, leaves)
        return Outcomes(part.false, part.true, part.null)


@dataclasses.dataclass(frozen=True)
class If(_Compound):
    """
    Of three parts, the second if the first is true, the third if it is false.

    If the first is null, the outcome is null, or that of the third (`null_is_false`).
    """

    null_is_false: bool = False

    def outcomes(self, leaves: Leaves) -> Outcomes:
        choice, yes, no = (evaluated(part, leaves) for part in self.parts)
        choice_null = choice.null
        if self.null_is_false:
            false = pc.or_(choice.false, choice.null)
            choice = Outcomes(choice.true, false, FALSE)

        def either(name: str) -> Any:
            of = operator.attrgetter(name)
            return pc.or_(pc.and_(choice.true, of(yes)), pc.and_(choice.false, of(no)))

        null = either("null")
        if not self.null_is_false:
            null = pc.or_(null, choice_null)
        return Outcomes(either("true"), either("false"), null)


def evaluated(predicate: Predicate, leaves: Leaves) -> Outcomes:
    """Return the outcomes of a predicate: all, if the statistics do not decide it."""
    try:
        return predicate.outcomes(leaves)
    except (UndecidedError, pa.ArrowException, ValueError, TypeError, OverflowError):
        # pyarrow refuses to compare such a literal, or with such bounds.
        return _ALL
