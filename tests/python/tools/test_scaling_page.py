"""docs/scaling.md has the tables of the simulation, and quotes docs/performance.md."""

from __future__ import annotations

import pytest

import scaling_simulation as scaling
from helpers import ROOT
from marks import take

PAGE, PERFORMANCE = ROOT / "docs/scaling.md", ROOT / "docs/performance.md"


def test_the_page_has_the_tables_of_now() -> None:
    """If this fails, run `make bench-simulation`."""
    found = scaling.report(PERFORMANCE, {})
    assert take(PAGE, scaling.BEGIN) == scaling.text_of(found)


# A row of docs/performance.md, its number, and the number in docs/scaling.md.
QUOTED = [
    ("| opening a recording of 100,000 batches |", "0.69 ms", "0.69 ms"),
    ("| 4 processes that scan one recording of 2.0 GB", "0 MB", "by 0 MB"),
    ("| ingest |", "190", "403 MB in 190 ms"),
    ("| first pass |", "38.5", "403 MB in 38.5 ms"),
    ("| sum one column |", "4.05", "34 MB in 4.05 ms"),
    ("| our server, our client |", "2.47", "2.47 GB/s"),
    ("| our server, 32 of our clients |", "2.93", "2.93 GB/s"),
    ("| lag, median, ms |", "205.2", "205 ms"),
    ("| memory for a follower, KB |", "197.1", "197 KB"),
    ("| read_recordings |", "17.7", "17.7 million"),
    ("| `RecordingDataset` [1] |", "104,199", "104,199 images"),
]


@pytest.mark.parametrize(("row", "figure", "quote"), QUOTED)
def test_the_page_quotes_measured_figures(row: str, figure: str, quote: str) -> None:
    lines = PERFORMANCE.read_text().splitlines()
    assert any(figure in line for line in lines if line.startswith(row))
    assert quote in PAGE.read_text().replace("\n", " ")
