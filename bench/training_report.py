"""The results of training.py as Markdown tables, and the pairs that have targets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

TABLES = {
    "rows": "32 columns of float32",
    "images": "images of 3,072 bytes",
}
FIGURES = ("rate", "first", "memory", "resume")
HEADS = ("rows a second", "first batch", "memory", "resume at 90 %")
RESUMES = {
    "state": "It resumes by a state.",
    "sampler": "It resumes by a sampler that skips rows.",
    "reading": "It has no state: the loop reads the skipped batches.",
}
OURS, BUFFERED, ROWS = "recording", "buffered", "row_dataset"
MAPPED = ("datasets", "datasets_batches")
TENSORS = ("tensors", "tensors_batches")

Row = dict[str, Any]


def name_of(case: Row) -> str:
    order = "shuffled" if case["shuffled"] else "sequential"
    return f"{TABLES[case['table']]}, {order}, {case['workers']} workers"


def cell_text(kind: str, value: float | None) -> str:
    if value is None:
        return ""
    if kind == "rate":
        return f"{value:,.0f}"
    if kind == "memory":
        return f"{value / 1e6:,.0f} MB"
    return f"{value * 1e3:,.0f} ms" if value < 10 else f"{value:,.0f} s"


class Notes:
    """Footnotes of a table, numbered in the order of their first use."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def mark(self, text: str) -> str:
        if not text:
            return ""
        if text not in self._texts:
            self._texts.append(text)
        return f" [{self._texts.index(text) + 1}]"

    def lines(self) -> list[str]:
        notes = [f"[{n}] {text}" for n, text in enumerate(self._texts, 1)]
        return [line for note in notes for line in (note, "")]


def sentence(text: str) -> str:
    """Return the text as a sentence, without characters that end a cell, or nothing."""
    if not text:
        return ""
    text = text.replace("|", "/").strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def table(rows: list[Row], shuffled: bool) -> list[str]:
    """Return a table of one order of one of our tables: each way, by workers."""
    mine = [row for row in rows if row["shuffled"] == shuffled]
    workers = sorted({row["workers"] for row in mine})
    order = "shuffled" if shuffled else "sequential"
    head = [f"{words}, {n}" for words in HEADS for n in workers]
    lines = [
        f"### Training, {mine[0]['rows']:,} rows, {TABLES[mine[0]['table']]}, {order}",
        "",
        "| workers | " + " | ".join(head) + " |",
        "|---|" + "--:|" * len(head),
    ]
    notes = Notes()
    for name in dict.fromkeys(row["name"] for row in mine):
        of_name = {row["workers"]: row for row in mine if row["name"] == name}
        cells = []
        for kind in FIGURES:
            for n in workers:
                row = of_name[n]
                text = cell_text(kind, row.get(kind))
                note = row["notes"].get(kind, "")
                cells.append((text + notes.mark(sentence(note))).strip())
        row = of_name[workers[0]]
        is_measured = any("resume" in row for row in of_name.values())
        mark = notes.mark(RESUMES[row["resumes"]]) if is_measured else ""
        lines.append(f"| {row['words']}{mark} | {' | '.join(cells)} |")
    return [*lines, "", *notes.lines()]


# ---- pairs of ours and a peer ----


def fastest(rows: dict[str, Row], names: Iterable[str]) -> Row | None:
    measured = [rows[name] for name in names if "rate" in rows.get(name, {})]
    return max(measured, key=lambda row: row["rate"], default=None)


def pair(label: str, ours: Row | None, peer: Row | None, times: float) -> list[Row]:
    """Return the row of two rates: at least, or below 1x at most, so many times."""
    if ours is None or peer is None:
        return []
    figure = ours["rate"] / peer["rate"]
    target = f"at least {times:g}x faster"
    text = f"{figure:.1f}x faster"
    if times < 1:
        target, text = f"at most {1 / times:.1f}x the time", f"{1 / figure:.2f}x the time"
    rates = f"{ours['rate']:,.0f} and {peer['rate']:,.0f}"
    return [
        {
            "label": f"{label}: {ours['words']} against {peer['words']}",
            "figure": f"{text} ({rates} rows a second)",
            "target": target,
            "reached": figure >= times,
        }
    ]


def pairs(results: list[Row]) -> list[Row]:
    """Return the pairs that have targets."""
    cases: dict[str, dict[str, Row]] = {}
    for row in results:
        cases.setdefault(name_of(row), {})[row["name"]] = row
    found: list[Row] = []
    for name, rows in cases.items():
        first = next(iter(rows.values()))
        ours = fastest(rows, [OURS])
        if first["workers"] == 2 and first["shuffled"]:
            mapped, streamed = fastest(rows, MAPPED), fastest(rows, ["streamed"])
            found += pair(f"{name}, all rows", fastest(rows, [ROWS]), mapped, 5)
            found += pair(f"{name}, a buffer", fastest(rows, [BUFFERED]), streamed, 5)
            found += pair(name, ours, fastest(rows, [*MAPPED, "streamed"]), 5)
        elif first["workers"] == 2:
            found += pair(name, ours, fastest(rows, [*MAPPED, "streamed"]), 3)
        if not first["shuffled"]:
            found += pair(name, ours, fastest(rows, TENSORS), 1 / 1.2)
            found += pair(name, ours, fastest(rows, ["matrix"]), 1 / 1.2)
        for kind in (OURS, BUFFERED):
            seconds = rows.get(kind, {}).get("resume")
            if seconds is not None:
                found.append(
                    {
                        "label": f"{name}: {rows[kind]['words']} resumes at 90 %",
                        "figure": f"{seconds * 1e3:.0f} ms",
                        "target": "under 50 ms",
                        "reached": seconds < 0.05,
                    }
                )
    return found


def section(report: Row) -> list[str]:
    """Return the tables of a report, without its pairs."""
    about = report["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in report["packages"].items())
    lines = [
        f"Machine: {about['cpu']}, {about['cores']} cores, Python {about['python']}; "
        f"{versions}. Batches have {report['batch']} rows. Epochs of each way: "
        f"{report['rounds']}, with a deadline of {report['deadline']:g} s.",
        "",
    ]
    for kind in TABLES:
        rows = [row for row in report["results"] if row["table"] == kind]
        for shuffled in (False, True):
            if any(row["shuffled"] == shuffled for row in rows):
                lines += table(rows, shuffled)
    return lines


def print_report(report: Row) -> None:
    """Print the tables, and the pairs with their targets."""
    print("\n".join(section(report)))
    for row in pairs(report["results"]):
        verdict = "reached" if row["reached"] else "MISSED"
        print(f"  {row['label']} {row['figure']} ({row['target']}: {verdict})")
