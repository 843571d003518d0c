"""
Draw how well a buffer mixes rows that were recorded in the order of their label.

    python bench/shuffle_quality.py IMAGE

The spread of the mean label of items, as a multiple of a perfect shuffle's, for several
sizes of `buffer_size`. Prints the numbers, and writes the chart.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa

import batchcorder
from batchcorder.torch import RecordingDataset

ROWS, ITEM, EPOCHS = 1_000_000, 256, 10
LENGTHS = (1_000, 10_000)
BUFFERS = (0, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


def spread(path: str, buffer_size: int) -> float:
    """Return the spread of the items' means, in spreads of a perfect shuffle."""
    dataset = RecordingDataset(
        path, batch_size=ITEM, shuffle=True, buffer_size=buffer_size, drop_last=True
    )
    squares = []
    for epoch in range(EPOCHS):
        dataset.set_epoch(epoch)
        squares += [(float(item["label"].mean()) - 0.5) ** 2 for item in dataset]
    return float(np.sqrt(np.mean(squares) * 12 * ITEM))


def main() -> None:
    image = Path(sys.argv[1])
    mpl.rcParams["svg.hashsalt"] = "batchcorder"
    figure, axes = plt.subplots(figsize=(6, 3.2))
    table = pa.table({"label": np.arange(ROWS) / ROWS})
    with tempfile.TemporaryDirectory() as directory:
        for length in LENGTHS:
            path = f"{directory}/{length}.arrows"
            with batchcorder.record(table.to_reader(max_chunksize=length), path):
                pass
            spreads = [spread(path, size) for size in BUFFERS]
            print(length, dict(zip(BUFFERS, np.round(spreads, 2).tolist(), strict=True)))
            axes.plot(
                [max(size, length) for size in BUFFERS],
                spreads,
                marker="o",
                label=f"recorded batches of {length:,} rows",
            )
    axes.axhline(1, color="gray", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_yticks([1, 2, 4, 8, 16], labels=["1", "2", "4", "8", "16"])
    axes.minorticks_off()
    axes.set_xlabel("rows that are mixed (buffer_size)")
    axes.set_ylabel("spread of items' means,\nperfect shuffle = 1")
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(image, metadata={"Date": None})


if __name__ == "__main__":
    main()
