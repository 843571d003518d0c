"""Trainers over loaders of recordings, as docs/training.md describes them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from batchcorder.torch import RecordingDataset
from loading import flat, ids_of

Recorded = Callable[..., str]
LIB = Path(__file__).parents[1] / "python/lib"
LENGTHS = [10] * 10
EPOCHS = 3
SECONDS = 240


class Model(lightning.LightningModule):
    """A model that notes the rows of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[list[int]] = []

    def training_step(self, item: dict[str, torch.Tensor], number: int) -> torch.Tensor:
        self.seen.append(item["id"].tolist())
        return self.layer(item["x"][:, None]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-9)


class SetEpoch(Callback):
    def __init__(self, dataset: RecordingDataset) -> None:
        self.dataset = dataset

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.dataset.set_epoch(trainer.current_epoch)


class SaveAt(Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fit(loader: Any, dataset: RecordingDataset, *more: Callback, **way: Any) -> Model:
    model = Model()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[SetEpoch(dataset), *more],
    )
    trainer.fit(model, loader, **way)
    return model


def expected(path: str) -> list[list[int]]:
    dataset = RecordingDataset(path, batch_size=15, shuffle=True)
    items = []
    for epoch in range(EPOCHS):
        dataset.set_epoch(epoch)
        items += ids_of(list(dataset))
    return items


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_lightning(recorded: Recorded, workers: int, persistent: bool) -> None:
    path = recorded(LENGTHS)
    dataset = RecordingDataset(path, batch_size=15, shuffle=True)
    loader = DataLoader(
        dataset, batch_size=None, num_workers=workers, persistent_workers=persistent
    )
    assert fit(loader, dataset).seen == expected(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 2])
def test_lightning_resumes(recorded: Recorded, tmp_path: Path, workers: int) -> None:
    path, checkpoint = recorded(LENGTHS), tmp_path / "x.ckpt"

    def loader_of() -> tuple[Any, RecordingDataset]:
        dataset = RecordingDataset(path, batch_size=15, shuffle=True)
        loader = StatefulDataLoader(dataset, batch_size=None, num_workers=workers)
        return loader, dataset

    assert fit(*loader_of(), SaveAt(10, checkpoint)).seen == expected(path)
    resumed = fit(*loader_of(), ckpt_path=checkpoint, weights_only=False)
    assert resumed.seen == expected(path)[10:]


def test_accelerate(recorded: Recorded, tmp_path: Path) -> None:
    path = recorded(LENGTHS)
    outs = [tmp_path / f"{rank}.json" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                LIB / "accelerated.py",
                path,
                tmp_path / "s",
                str(rank),
                out,
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, errors
    ranks = [json.loads(out.read_text()) for out in outs]
    whole = ids_of(list(RecordingDataset(path, batch_size=15)))
    # A loader that is not prepared: ranks take turns.
    assert [rank["own"] for rank in ranks] == [whole[0::2], whole[1::2]]
    # A prepared loader of one rank: Accelerate splits each item among the ranks.
    dispatched = [rank["dispatched"] for rank in ranks]
    assert sorted(flat(flat(dispatched))) == flat(whole)
    assert len(dispatched[0]) == len(dispatched[1])
    # Prepared loaders of rows.
    assert sorted(flat(flat(rank["rows"] for rank in ranks))) == flat(whole)
