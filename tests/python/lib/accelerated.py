"""
One of two processes that Accelerate runs: the rows of three loaders.

Usage: accelerated.py RECORDING STORE RANK OUT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from batchcorder.torch import RecordingDataset, RowDataset
from loading import ids_of


def main() -> None:
    path, store, rank, out = sys.argv[1:]
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}
    # Accelerate asks for an address also if the group is there.
    os.environ |= {"MASTER_ADDR": "localhost", "ACCELERATE_USE_CPU": "true"}
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=int(rank), world_size=2
    )
    accelerator = Accelerator(cpu=True)

    def loader_of(**world: int) -> DataLoader:
        columns = ["id", "x"]  # Accelerate dispatches no text
        dataset = RecordingDataset(path, columns=columns, batch_size=15, **world)
        return DataLoader(dataset, batch_size=None)

    own = ids_of(list(loader_of()))
    dispatched = accelerator.prepare(loader_of(rank=0, world_size=1))
    rows = accelerator.prepare(DataLoader(RowDataset(path), batch_size=10, shuffle=True))
    found = {
        "own": own,
        "dispatched": ids_of(list(dispatched)),
        "rows": ids_of(list(rows)),
    }
    Path(out).write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
