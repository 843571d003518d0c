"""
Trains a small model on a recording, and writes the loss of every step.

Usage: train.py RECORDING CHECKPOINT LOSSES WORKERS LOADER; LOADER is "plain" or
"stateful". It resumes from the checkpoint if there is one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from batchcorder.torch import RecordingDataset

EPOCHS = 2


def main() -> None:
    path, checkpoint, losses, count, kind = sys.argv[1:]
    workers = int(count)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    dataset = RecordingDataset(path, batch_size=32, shuffle=True, buffer_size=300, seed=3)
    loader_type = StatefulDataLoader if kind == "stateful" else DataLoader
    loader = loader_type(dataset, batch_size=None, num_workers=workers)
    first = done = 0
    if os.path.exists(checkpoint):
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first, done = saved["epoch"], saved["done"]
        (loader if kind == "stateful" else dataset).load_state_dict(saved["data"])
    with Path(losses).open("a") as log:
        for epoch in range(first, EPOCHS):
            dataset.set_epoch(epoch)
            for step, item in enumerate(loader, 1):
                loss = torch.nn.functional.mse_loss(model(item["x"])[:, 0], item["y"])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                done += 1
                log.write(f"{done} {loss.item().hex()}\n")
                log.flush()
                print(done, flush=True)
                data = loader if kind == "stateful" else dataset
                state = data.state_dict() if kind == "stateful" else data.state_dict(step)
                torch.save(
                    {
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "epoch": epoch,
                        "done": done,
                        "data": state,
                    },
                    checkpoint + ".new",
                )
                os.replace(checkpoint + ".new", checkpoint)


if __name__ == "__main__":
    main()
