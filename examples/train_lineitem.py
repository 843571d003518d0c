"""Train on TPC-H's lineitem, and resume: python train_lineitem.py TPCH_DIRECTORY."""

import sys
from pathlib import Path

import duckdb
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

import batchcorder
from batchcorder.torch import RecordingDataset

QUERY = """
    select l_quantity::float as quantity, l_discount::float as discount,
           l_tax::float as tax, l_linenumber::float as line,
           (l_returnflag = 'R')::float as returned
    from read_parquet('{}/lineitem.parquet')
"""


def main() -> None:
    directory = Path(sys.argv[1])
    path, checkpoint = directory / "lineitem.arrows", directory / "checkpoint.pt"
    if not path.exists():  # DuckDB reads the table once, and each epoch replays it
        stream = duckdb.sql(QUERY.format(directory)).to_arrow_reader(100_000)
        with batchcorder.record(stream, path):
            pass
    dataset = RecordingDataset(path, batch_size=1024, shuffle=True, buffer_size=100_000)
    loader = DataLoader(dataset, batch_size=None, num_workers=2)
    torch.manual_seed(0)
    layers = torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    parts = {"model": model, "optimizer": optimizer, "data": dataset}
    if checkpoint.exists():
        for name, state in torch.load(checkpoint).items():
            parts[name].load_state_dict(state)
    for epoch in range(dataset.epoch, 2):
        dataset.set_epoch(epoch)
        for step, item in enumerate(loader, 1):
            label = item.pop("returned")
            features = torch.stack(list(item.values()), 1) / 10
            loss = binary_cross_entropy_with_logits(model(features)[:, 0], label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 100 == 0:
                states = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                }
                torch.save({**states, "data": dataset.state_dict(step)}, checkpoint)
        print(f"epoch {epoch}: loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
