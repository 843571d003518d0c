"""
One rank of a training with DistributedDataParallel on the CPU.

Usage: train_ddp.py RECORDING STORE RANK WORLD_SIZE WORKERS UNEVEN OUT. It writes the rows
of each epoch, and the model's parameters, to OUT.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from batchcorder.torch import RecordingDataset


def main() -> None:
    path, store, rank, world_size, workers, uneven, out = sys.argv[1:]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    # Made before the group: the rank is read when the loop begins.
    dataset = RecordingDataset(
        path, batch_size=8, shuffle=True, buffer_size=50, uneven=uneven
    )
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=int(workers),
        persistent_workers=True,
        multiprocessing_context="forkserver",
    )
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=int(rank),
        world_size=int(world_size),
        timeout=timedelta(seconds=120),
    )
    model = DistributedDataParallel(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    epochs = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        rows = []
        for item in loader:
            rows.append(item["id"].tolist())
            loss = torch.nn.functional.mse_loss(model(item["x"])[:, 0], item["y"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert len(rows) == len(dataset) == len(loader)
        epochs.append(rows)
    parameters = [value.tolist() for value in model.module.parameters()]
    Path(out).write_text(json.dumps({"epochs": epochs, "parameters": parameters}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
