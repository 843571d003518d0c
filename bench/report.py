"""The figures of the benchmarks: their targets and their format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# An implementation and its scenario: ("ours", "memory.ingest").
Cell = tuple[str, str]


@dataclass(frozen=True)
class Target:
    """A target of a row on one shape of data."""

    # faster: 0.1.3 takes at least `value` times as long as the package.
    # within: the package takes at most `value` times the row's base.
    # ns: a batch takes at most `value` nanoseconds.
    # threads: two streams at once pass at least `value` times as many batches as one.
    kind: Literal["faster", "within", "ns", "threads"]
    value: float

    def __str__(self) -> str:
        return {
            "faster": f"{self.value:g}x faster",
            "within": f"{self.value:.3g}x base",
            "ns": f"{self.value:g} ns a batch",
            "threads": f"{self.value:g}x one thread",
        }[self.kind]


@dataclass(frozen=True)
class Row:
    """One scenario, run with the package and with 0.1.3, and its base."""

    label: str
    scenario: str
    base: Cell
    base_label: str
    targets: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    # False: 0.1.3 lacks the feature.
    compared: bool = True

    def cells(self) -> list[Cell]:
        """Return all cells of the row."""
        kinds = ("ours", "rust") if self.compared else ("ours",)
        return [*[(kind, self.scenario) for kind in kinds], self.base]


@dataclass(frozen=True)
class Group:
    """One table for each shape."""

    name: str
    title: str
    rows: tuple[Row, ...]
    # Figures without a counterpart, which are printed below the table.
    beside: tuple[tuple[str, Cell], ...]

    def cells(self) -> list[Cell]:
        """Return all cells of the group, in the order of the rows."""
        wanted = [cell for row in self.rows for cell in row.cells()]
        return list(dict.fromkeys(wanted + [cell for _, cell in self.beside]))


def _on_all(*targets: Target) -> dict[str, tuple[Target, ...]]:
    return dict.fromkeys(("one-row", "strings", "wide"), targets)


def _faster(**values: float) -> dict[str, tuple[Target, ...]]:
    return {
        shape.replace("_", "-"): (Target("faster", x),) for shape, x in values.items()
    }


def _join(*targets: Mapping[str, tuple[Target, ...]]) -> dict[str, tuple[Target, ...]]:
    joined: dict[str, tuple[Target, ...]] = {}
    for some in targets:
        for shape, more in some.items():
            joined[shape] = joined.get(shape, ()) + more
    return joined


MEMORY = Group(
    "memory",
    "in memory",
    (
        Row(
            "ingest",
            "memory.ingest",
            ("bare", "source.kept"),
            "the source, batches kept",
            _faster(one_row=3),
        ),
        Row(
            "ingest ready arrays",
            "memory.ingest_ready",
            ("bare", "ready.kept"),
            "the arrays, kept",
            _faster(one_row=3),
        ),
        Row(
            "iterate, first time",
            "memory.iterate",
            ("bare", "ready.iterate"),
            "pyarrow on ready arrays",
            _faster(one_row=4),
        ),
        Row(
            "iterate again",
            "memory.again",
            ("bare", "list.iterate"),
            "a Python list of the objects",
            _faster(one_row=15),
        ),
        Row(
            "into a pyarrow table",
            "memory.table",
            ("bare", "ready.table"),
            "pyarrow on ready arrays",
            {"one-row": (Target("within", 1.15),)},
        ),
        Row(
            "bare C consumer",
            "memory.consume",
            ("bare", "ready.consume"),
            "ready arrays",
            {"one-row": (Target("faster", 8), Target("ns", 100))},
        ),
        Row(
            "two C consumers at once",
            "memory.two",
            ("ours", "memory.consume"),
            "one consumer",
            {"one-row": (Target("threads", 1.8),)},
        ),
    ),
    (("the source alone, batches dropped", ("bare", "source.drained")),),
)

DISK = Group(
    "disk",
    "from disk, memory_capacity=1",
    (
        Row(
            "ingest",
            "disk.ingest",
            ("bare", "writev"),
            "bare writev",
            _faster(one_row=3, wide=2),
        ),
        Row(
            "ingest ready arrays",
            "disk.ingest_ready",
            ("bare", "writev"),
            "bare writev",
            _on_all(Target("within", 1.35)),
        ),
        Row(
            "the same without checksums",
            "disk.ingest_plain",
            ("bare", "writev"),
            "bare writev",
            _on_all(Target("within", 1.15)),
            compared=False,
        ),
        Row("first pass", "disk.first", ("bare", "ipc.iterate"), "pyarrow, mapped file"),
        Row(
            "iterate",
            "disk.iterate",
            ("bare", "ipc.iterate"),
            "pyarrow, mapped file",
            _join(
                _faster(one_row=5, strings=20, wide=40), _on_all(Target("within", 1 / 3))
            ),
        ),
        Row(
            "sum one column",
            "disk.sum",
            ("bare", "ipc.sum"),
            "pyarrow, mapped file",
            _faster(wide=15),
        ),
        Row(
            "into a pyarrow table",
            "disk.table",
            ("ours", "memory.table"),
            "from memory",
            {"one-row": (Target("within", 2),), "wide": (Target("within", 1.3),)},
        ),
        Row(
            "bare C consumer",
            "disk.consume",
            ("ours", "memory.consume"),
            "from memory",
            {"one-row": (Target("within", 2),), "wide": (Target("within", 1.3),)},
        ),
    ),
    (("pyarrow's IPC writer", ("bare", "ipc.write")),),
)

GROUPS = {group.name: group for group in (MEMORY, DISK)}


def evaluate(
    row: Row, shape: str, times: Mapping[Cell, float], batches: int
) -> dict[str, Any]:
    """Return the row's seconds and ratios, and whether it reaches each target."""
    ours = times["ours", row.scenario]
    rust = times.get(("rust", row.scenario))
    base = times[row.base]
    figures: dict[str, float | None] = {
        "faster": None if rust is None else rust / ours,
        "within": ours / base,
        "ns": ours / batches * 1e9,
        "threads": 2 * base / ours,
    }
    targets = []
    for target in row.targets.get(shape, ()):
        figure = figures[target.kind]
        reached = None
        if figure is not None:
            more = target.kind in ("faster", "threads")
            reached = figure >= target.value if more else figure <= target.value
        # The ratio if the package itself took no time.
        limit = rust / base if target.kind == "faster" and rust is not None else None
        targets.append(
            {"target": str(target), "figure": figure, "reached": reached, "limit": limit}
        )
    return {
        "label": row.label,
        "scenario": row.scenario,
        "base_label": row.base_label,
        "ours_seconds": ours,
        "rust_seconds": rust,
        "base_seconds": base,
        "times_faster": figures["faster"],
        "times_base": figures["within"],
        "targets": targets,
    }


def _verdict(target: Mapping[str, Any]) -> str:
    if target["reached"] is None:
        return f"{target['target']}: not measured"
    if target["reached"]:
        return f"{target['target']}: reached"
    words = f"{target['target']}: MISSED ({target['figure']:.3g}"
    if target["limit"] is not None:
        words += f", the base itself {target['limit']:.3g}"
    return words + ")"


def print_table(
    title: str, results: list[dict[str, Any]], beside: Mapping[str, float], batches: int
) -> None:
    """Print one group on one shape, in microseconds a batch or milliseconds in all."""
    per_batch = max(result["ours_seconds"] for result in results) / batches < 50e-6
    scale, unit = (1e6 / batches, "us a batch") if per_batch else (1e3, "ms in all")

    def time(seconds: float | None) -> str:
        return "-" if seconds is None else f"{seconds * scale:.3f}"

    def ratio(figure: float | None) -> str:
        return "-" if figure is None else f"{figure:.2f}x"

    print(f"\n{title} ({unit})")
    lines = [["", "ours", "0.1.3", "faster", "base", "of base", "", "targets"]]
    for result in results:
        lines.append(
            [
                result["label"],
                time(result["ours_seconds"]),
                time(result["rust_seconds"]),
                ratio(result["times_faster"]),
                time(result["base_seconds"]),
                ratio(result["times_base"]),
                result["base_label"],
                "; ".join(map(_verdict, result["targets"])),
            ]
        )
    widths = [max(len(line[c]) for line in lines) for c in range(len(lines[0]))]
    left = (0, 6, 7)
    for line in lines:
        cells = [
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip())
    for label, seconds in beside.items():
        print(f"  beside: {label} {time(seconds)}")


def print_figures(figures: list[dict[str, Any]]) -> None:
    """Print figures that are in no table, with their targets."""
    for figure in figures:
        verdict = "reached" if figure["reached"] else "MISSED"
        print(f"  {figure['label']} {figure['figure']} ({figure['target']}: {verdict})")
