"""Random Arrow streams over every type that pyarrow can make, nested in each other.

Hypothesis draws a stream's shape: its types, their names and flags, row counts and
slices. The content of buffers comes from a seed. Arrays are built from buffers and child
arrays, since Python values cannot express many layouts.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from random import Random
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from kinds import Labelled

UNITS = ("s", "ms", "us", "ns")
LONG_WORDS = ("thirteen byte", "more than twelve bytes of text", "été " * 9)
WORDS = ("", "a", "été", "twelve bytes", *LONG_WORDS)


class Wrapped(pa.ExtensionType):
    """An extension type over any other type."""

    def __init__(self, storage: pa.DataType) -> None:
        super().__init__(storage, "batchcorder.tests.wrapped")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"\xff\x00 wrapped"

    @classmethod
    def __arrow_ext_deserialize__(
        cls, storage_type: pa.DataType, serialized: bytes
    ) -> Wrapped:
        return cls(storage_type)


pa.register_extension_type(Wrapped(pa.int8()))

INTEGERS = [getattr(pa, f"{sign}int{b}")() for sign in ("", "u") for b in (8, 16, 32, 64)]
LEAVES: list[pa.DataType] = [
    *INTEGERS,
    pa.float16(),
    pa.float32(),
    pa.float64(),
    pa.decimal32(5, 2),
    pa.decimal64(18, -3),
    pa.decimal128(38, 38),
    pa.decimal256(76, 0),
    pa.bool_(),
    pa.date32(),
    pa.date64(),
    pa.time32("s"),
    pa.time32("ms"),
    pa.time64("us"),
    pa.time64("ns"),
    *map(pa.timestamp, UNITS),
    pa.timestamp("us", "Europe/Paris"),
    pa.timestamp("ns", ""),
    *map(pa.duration, UNITS),
    pa.month_day_nano_interval(),
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.binary(0),
    pa.binary(1),
    pa.binary(21),
    pa.null(),
    pa.uuid(),
    pa.bool8(),
    pa.json_(pa.string_view()),
    pa.fixed_shape_tensor(pa.int16(), [3], dim_names=["x"], permutation=[0]),
    pa.opaque(pa.binary(), "anything", "nobody"),
    Labelled(),
]

NAMES = st.sampled_from(["a", "a", "b", "", "été", "nul\u0001", "x" * 70])
METADATA = st.none() | st.dictionaries(
    st.sampled_from([b"k", b"", b"\xff\xfe", b"nul\x00"]),
    st.sampled_from([b"", b"v", b"\x80\x00", "é".encode()]),
    min_size=1,
    max_size=2,
)


def stored(kind: pa.DataType) -> pa.DataType:
    """Return the storage type of an extension type, or the type itself."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


# ---- types ----


def field_of(name: str, kind: pa.DataType, nullable: bool, metadata: Any) -> pa.Field:
    return pa.field(name, kind, nullable or pa.types.is_null(stored(kind)), metadata)


def fields(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.Field]:
    return st.builds(field_of, NAMES, inner, st.booleans(), METADATA)


def union_of(made: list[pa.Field], codes: list[int], mode: str) -> pa.DataType:
    return pa.union(made, mode, codes[: len(made)])


def dictionary_of(index: pa.DataType, kind: pa.DataType, ordered: bool) -> pa.DataType:
    """Return a dictionary type. A dictionary of a dictionary gets a struct in between."""
    if pa.types.is_dictionary(stored(kind)):
        kind = pa.struct([pa.field("d", kind), pa.field("n", pa.int8())])
    return pa.dictionary(index, kind, ordered)


def runs_of(end: pa.DataType, kind: pa.DataType) -> pa.DataType:
    """Return a run-end encoded type. pyarrow cannot import runs of runs."""
    if pa.types.is_run_end_encoded(kind):
        kind = pa.struct([pa.field("r", kind)])
    return pa.run_end_encoded(end, kind)


def wrap(kind: pa.DataType) -> pa.DataType:
    """Return an extension type over the type, unless it is one."""
    return kind if isinstance(kind, pa.BaseExtensionType) else Wrapped(kind)


def map_of(key: pa.Field, item: pa.Field, is_sorted: bool) -> pa.DataType:
    if pa.types.is_null(stored(key.type)):
        key = key.with_type(pa.int8())
    # pyarrow renames the children to these names when it imports a map.
    key, item = key.with_nullable(False).with_name("key"), item.with_name("value")
    return pa.map_(key, item, is_sorted)


def nest(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    """Return a strategy for the types with child types."""
    field = fields(inner)
    lists = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view]
    codes = st.lists(st.integers(0, 127), min_size=3, max_size=3, unique=True)
    modes = st.sampled_from(["sparse", "dense"])
    ends = st.sampled_from([pa.int16(), pa.int32(), pa.int64()])
    return st.one_of(
        st.builds(lambda make, one: make(one), st.sampled_from(lists), field),
        st.builds(pa.list_, field, st.integers(0, 3)),
        st.lists(field, max_size=3).map(pa.struct),
        st.builds(map_of, field, field, st.booleans()),
        st.builds(union_of, st.lists(field, min_size=1, max_size=3), codes, modes),
        st.builds(runs_of, ends, inner),
        st.builds(dictionary_of, st.sampled_from(INTEGERS), inner, st.booleans()),
        st.builds(dictionary_of, st.sampled_from(INTEGERS), inner, st.booleans()),
        inner.map(wrap),
    )


FIELDS = fields(st.recursive(st.sampled_from(LEAVES), nest, max_leaves=5))


# ---- arrays ----


def bits(values: list[bool]) -> pa.Buffer:
    """Return a bitmap. The bits after its end are ones."""
    padded = values + [True] * (-len(values) % 8)
    text = "".join("01"[bit] for bit in reversed(padded))
    return pa.py_buffer(int(text or "0", 2).to_bytes(len(padded) // 8, "little"))


def integers(values: list[int], code: str) -> pa.Buffer:
    return pa.py_buffer(array(code, values))


def scalars(kind: pa.DataType, chance: Random, n: int) -> bytes | None:
    """Return `n` values of a type of fixed width, or None for another layout."""
    types = pa.types
    is_fixed = types.is_primitive(kind) or types.is_fixed_size_binary(kind)
    if types.is_boolean(kind) or not (is_fixed or types.is_decimal(kind)):
        return None
    width = kind.bit_width // 8
    tops = {
        pa.date64(): 1 << 20,
        pa.time32("s"): 86_400,
        pa.time32("ms"): 86_400_000,
        pa.time64("us"): 86_400_000_000,
        pa.time64("ns"): 86_400_000_000_000,
    }
    if types.is_decimal(kind):
        top = 10**kind.precision
        numbers = [chance.choice((0, 1 - top, chance.randrange(top))) for _ in range(n)]
    elif kind in tops:
        step = 86_400_000 if types.is_date64(kind) else 1
        numbers = [chance.randrange(tops[kind]) * step for _ in range(n)]
    elif types.is_floating(kind):
        # NaN differs from itself, so it is left out.
        choices = (0.0, -0.0, 1.5, -2.25, float("inf"), chance.randrange(1000) / 8)
        code = {2: "e", 4: "f", 8: "d"}[width]
        return struct.pack(f"<{n}{code}", *chance.choices(choices, k=n))
    else:
        return chance.randbytes(n * width)
    return b"".join(number.to_bytes(width, "little", signed=True) for number in numbers)


class Builder:
    """Builds the arrays of one stream, and reuses dictionaries in later batches."""

    def __init__(self, seed: str, parent: Builder | None = None) -> None:
        self.seed = seed
        self.chance = Random(seed)
        # Shared by all builders of a stream: its dictionaries, and the draws of their
        # reuse.
        self.made: dict[str, pa.Array] = {} if parent is None else parent.made
        self.taking: Random = self.chance if parent is None else parent.taking

    def array(
        self, kind: pa.DataType, rows: int, nullable: bool = True, path: str = ""
    ) -> pa.Array:
        """Return an array of `rows` rows, often as a slice of a longer array."""
        lead = self.chance.choice((0, 0, 0, 1, 5, 8, 13))
        total = lead + rows + self.chance.choice((0, 0, 3))
        return self.whole(kind, total, nullable, path).slice(lead, rows)

    def whole(self, kind: pa.DataType, n: int, nullable: bool, path: str) -> pa.Array:
        types = pa.types
        if isinstance(kind, pa.BaseExtensionType):
            storage = self.array(kind.storage_type, n, nullable, path)
            return pa.ExtensionArray.from_storage(kind, storage)
        if types.is_null(kind):
            return pa.nulls(n)
        if types.is_dictionary(kind):
            return self.dictionary(kind, n, nullable, path)
        if types.is_union(kind):
            return self.union(kind, n, path)
        if types.is_run_end_encoded(kind):
            return self.runs(kind, n, path)
        valid = self.validity(n, nullable)
        validity = None if valid is None else bits(valid)
        plain = scalars(kind, self.chance, n)
        children: list[pa.Array] | None = None
        if plain is not None:
            buffers = [pa.py_buffer(plain)]
        elif types.is_boolean(kind):
            buffers = [bits([self.chance.random() < 0.5 for _ in range(n)])]
        elif types.is_string_view(kind) or types.is_binary_view(kind):
            buffers = self.views(n, valid)
        elif types.is_struct(kind):
            buffers, children = [], self.children(list(kind), n, path)
        elif kind.num_fields == 0:
            buffers = self.texts(kind, n)
        elif types.is_fixed_size_list(kind):
            reach = n * kind.list_size
            buffers, children = [], self.children([kind.value_field], reach, path)
        else:
            buffers, children = self.lists(kind, n, path)
        nulls = -1
        if valid is not None and self.chance.random() < 0.5:
            nulls = valid.count(False)
        return pa.Array.from_buffers(
            kind, n, [validity, *buffers], nulls, children=children
        )

    def validity(self, n: int, nullable: bool) -> list[bool] | None:
        """Return which rows are valid, or None for no bitmap."""
        share = self.chance.choice((None, None, 0.5, 0.8, 0.0, 1.0))
        if share is None or (not nullable and share < 1):
            return None
        return [self.chance.random() < share for _ in range(n)]

    def children(self, fields: list[pa.Field], rows: int, path: str) -> list[pa.Array]:
        return [
            self.array(field.type, rows, field.nullable, f"{path}/{i}")
            for i, field in enumerate(fields)
        ]

    def reach(self, n: int) -> int:
        """Return the total number of values of `n` lists."""
        return self.chance.choice((0, n, min(3 * n, 40) if n < 40 else n))

    def texts(self, kind: pa.DataType, n: int) -> list[pa.Buffer]:
        words = [word.encode() for word in self.chance.choices(WORDS, k=n)]
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            words = [self.chance.randbytes(len(word)) for word in words]
        offsets = [0]
        for word in words:
            offsets.append(offsets[-1] + len(word))
        is_large = pa.types.is_large_binary(kind) or pa.types.is_large_string(kind)
        return [
            integers(offsets, "q" if is_large else "i"),
            pa.py_buffer(b"".join(words)),
        ]

    def views(self, n: int, valid: list[bool] | None) -> list[pa.Buffer]:
        """Return views, inline or not. Their buffers also have unused bytes."""
        words = [w.encode() for w in WORDS]
        pools = [
            [self.chance.choice(words) for _ in range(self.chance.randrange(6))]
            for _ in range(self.chance.randrange(4))
        ]
        places = []
        for number, pool in enumerate(pools):
            at = 0
            for word in pool:
                if len(word) > 12:
                    places.append((number, at, word))
                at += len(word)
        packed = []
        for i in range(n):
            if valid is not None and not valid[i] and self.chance.random() < 0.5:
                view = struct.pack("<i4sii", 77, b"none", 99, -1)
            elif places and self.chance.random() < 0.6:
                number, at, word = self.chance.choice(places)
                view = struct.pack("<i4sii", len(word), word[:4], number, at)
            else:
                word = self.chance.choice(words[:4])
                view = struct.pack("<i12s", len(word), word)
            packed.append(view)
        return [pa.py_buffer(b"".join(made)) for made in ([*packed], *pools)]

    def lists(
        self, kind: pa.DataType, n: int, path: str
    ) -> tuple[list[pa.Buffer], list[pa.Array]]:
        """Return the buffers and the child of lists, list views and maps."""
        types = pa.types
        reach = self.reach(n)
        code = "q" if types.is_large_list(kind) or types.is_large_list_view(kind) else "i"
        if types.is_map(kind):
            entries = kind.field(0).type
            columns = self.children(list(entries), reach, path)
            children = [
                pa.Array.from_buffers(entries, reach, [None], 0, children=columns)
            ]
        else:
            children = self.children([kind.value_field], reach, path)
        if types.is_list_view(kind) or types.is_large_list_view(kind):
            starts = [self.chance.randint(0, reach) for _ in range(n)]
            sizes = [min(self.chance.randrange(5), reach - at) for at in starts]
            return [integers(starts, code), integers(sizes, code)], children
        offsets = sorted(self.chance.choices(range(reach + 1), k=n + 1))
        return [integers(offsets, code)], children

    def union(self, kind: pa.DataType, n: int, path: str) -> pa.Array:
        members = [kind.field(i) for i in range(kind.num_fields)]
        picked = self.chance.choices(range(len(members)), k=n)
        codes = integers([kind.type_codes[i] for i in picked], "b")
        if kind.mode == "sparse":
            children = self.children(members, n, path)
            return pa.Array.from_buffers(kind, n, [None, codes], children=children)
        next_offsets = [self.chance.randrange(3) for _ in members]
        offsets = []
        for i in picked:
            offsets.append(next_offsets[i])
            next_offsets[i] += self.chance.choice((0, 1, 1, 1, 4))
        children = self.children(members, max(next_offsets) + 1, path)
        buffers = [None, codes, integers(offsets, "i")]
        return pa.Array.from_buffers(kind, n, buffers, children=children)

    def runs(self, kind: pa.DataType, n: int, path: str) -> pa.Array:
        ends = []
        while (ends[-1] if ends else 0) < n or self.chance.random() < 0.3:
            ends.append((ends[-1] if ends else 0) + self.chance.choice((1, 2, 3, 9)))
        lead = self.chance.choice((0, 0, 2))
        numbers = pa.array([*range(1, lead + 1), *ends], kind.run_end_type).slice(lead)
        values = self.array(kind.value_type, len(ends), True, f"{path}/runs")
        return pa.Array.from_buffers(kind, n, [None], 0, 0, [numbers, values])

    def dictionary(
        self, kind: pa.DataType, n: int, nullable: bool, path: str
    ) -> pa.Array:
        """Return indices into dictionary values that are repeated, longer or new."""
        values = self.values(kind.value_type, f"{path}/{self.taking.randrange(3)}")
        first = self.taking.choice((0, 0, 0, 0, 2))
        length = len(values) - first
        if self.taking.random() < 0.5:
            length = self.taking.randint(0, length)
        valid = self.validity(n, nullable)
        if length == 0 and n > 0:
            if nullable:
                valid = [False] * n
            else:
                length = 1
        values = values.slice(first, length)
        indices = [self.chance.randrange(max(length, 1)) for _ in range(n)]
        index = pa.array(indices, kind.index_type).buffers()[1]
        validity = None if valid is None else bits(valid)
        return pa.DictionaryArray.from_buffers(kind, n, [validity, index], values)

    def values(self, kind: pa.DataType, path: str) -> pa.Array:
        """Return the values for a path: the previous array, or a new one."""
        if path not in self.made or self.taking.random() < 0.5:
            builder = Builder(f"{self.seed} {path}", self)
            nullable = builder.chance.random() < 0.5
            self.made[path] = builder.array(kind, 9, nullable, path)
        return self.made[path]


# ---- streams ----

ROWS = [0, 1, 2, 7, 8, 9, 16, 31, 32, 33, 100, 500]


@dataclass
class Stream:
    """A stream of random batches, which `build` makes anew at each call."""

    schema: pa.Schema
    seed: int
    rows: list[int]
    cuts: list[
        tuple[int, int]
    ]  # (index of a batch, start): a slice that follows the batch

    def build(self) -> list[pa.RecordBatch]:
        builder = Builder(str(self.seed))
        made = []
        for i, rows in enumerate(self.rows):
            made.append(self._batch(builder, rows))
            for _, start in (cut for cut in self.cuts if cut[0] == i):
                last = made[-1]
                made.append(last.slice(min(start, last.num_rows), rows))
        return made

    def _batch(self, builder: Builder, rows: int) -> pa.RecordBatch:
        if len(self.schema) == 0:
            whole = pa.Array.from_buffers(pa.struct([]), rows, [None], 0, children=[])
            made = pa.RecordBatch.from_struct_array(whole)
            return made.replace_schema_metadata(self.schema.metadata)
        columns = [
            builder.array(field.type, rows, field.nullable, f"{i}")
            for i, field in enumerate(self.schema)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """Return a stream of up to three columns and some batches, including slices."""
    columns = [draw(FIELDS) for _ in range(draw(st.sampled_from([1, 2, 3, 3, 0])))]
    schema = pa.schema(columns, draw(METADATA))
    count = draw(st.integers(1, 4))
    rows = draw(st.lists(st.sampled_from(ROWS), min_size=count, max_size=count))
    cut = st.tuples(st.integers(0, count - 1), st.integers(0, 33))
    cuts = draw(st.lists(cut, max_size=3))
    return Stream(schema, draw(st.integers(0, 1 << 32)), rows, cuts)
