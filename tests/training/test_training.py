"""Real training: killed and resumed, and with several processes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import batchcorder
from loading import flat

LIB = Path(__file__).parents[1] / "python/lib"
ROWS = 900
SECONDS = 240


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("training") / "x.arrows")
    random_ = np.random.default_rng(0)
    x = random_.random((ROWS, 4), dtype=np.float32)
    table = pa.table(
        {
            "id": np.arange(ROWS),
            "x": pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 4),
            "y": (x @ np.array([1, -2, 3, 0.5], np.float32)),
        }
    )
    with batchcorder.record(table.to_reader(max_chunksize=130), path):
        pass
    return path


def start(name: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(LIB / name), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def end(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors


def losses_of(log: Path) -> dict[int, str]:
    """Return the loss of each step. A step that ran twice had the same loss."""
    losses: dict[int, str] = {}
    for line in log.read_text().splitlines():
        number, _, loss = line.partition(" ")
        if loss.endswith(tuple("0123456789")) and "p" in loss:
            assert losses.setdefault(int(number), loss) == loss
    return losses


@pytest.mark.parametrize(("kind", "workers"), [("plain", 2), ("stateful", 2)])
def test_killed_and_resumed(
    recording: str, tmp_path: Path, kind: str, workers: int
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    end(start("train.py", recording, tmp_path / "w.pt", whole, workers, kind))
    expected = losses_of(whole)
    assert len(expected) == 2 * -(-ROWS // 32)
    numbers = random.Random(f"{kind} {workers}")
    stops = sorted(numbers.sample(range(5, len(expected) - 5), 3))
    checkpoint = tmp_path / "k.pt"
    for stop in stops:
        process = start("train.py", recording, checkpoint, killed, workers, kind)
        too_late = threading.Timer(SECONDS, process.kill)
        too_late.start()
        assert process.stdout is not None
        reached = any(int(line) >= stop for line in process.stdout)
        too_late.cancel()
        assert reached, process.communicate()[1]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        # The last line may be cut off.
        text = killed.read_text()
        killed.write_text(text[: text.rfind("\n") + 1])
    end(start("train.py", recording, checkpoint, killed, workers, kind))
    assert losses_of(killed) == expected


@pytest.mark.parametrize("uneven", ["drop", "pad"])
def test_two_processes_with_two_workers(
    recording: str, tmp_path: Path, uneven: str
) -> None:
    outs = [tmp_path / f"{rank}.json" for rank in range(2)]
    processes = [
        start("train_ddp.py", recording, tmp_path / "store", rank, 2, 2, uneven, out)
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        end(process)
    first, second = (json.loads(out.read_text()) for out in outs)
    assert first["parameters"] == second["parameters"]
    for one, other in zip(first["epochs"], second["epochs"], strict=True):
        assert len(one) == len(other)
        rows = flat(one) + flat(other)
        steps = -(-ROWS // 8)
        if uneven == "pad" or steps % 2 == 0:
            assert set(rows) == set(range(ROWS))
        if uneven == "drop" or steps % 2 == 0:
            assert len(rows) == len(set(rows))
    assert first["epochs"][0] != first["epochs"][1]
