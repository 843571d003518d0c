"""bench/scaling_simulation.py: the fluid simulation, and its report."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

import scaling_simulation as scaling
from epoch import Trouble, Way, simulate
from helpers import ROOT
from simulation_figures import measured

SERVER = Way("server", {"network": 3e9}, {"stream": 2e9})
TROUBLES = Trouble(mtbf=200.0, restart=5.0, slow=0.2)
PERFORMANCE = ROOT / "docs/performance.md"


@pytest.mark.parametrize("queue", [False, True])
@pytest.mark.parametrize("workers", [1, 7, 64])
@pytest.mark.parametrize("trouble", [Trouble(), TROUBLES], ids=["calm", "trouble"])
def test_an_epoch_delivers_each_byte_once(
    queue: bool, workers: int, trouble: Trouble
) -> None:
    way = replace(SERVER, pools=3, opening=0.3, refetch=2.0)
    for seed in range(3):
        done = simulate(way, workers, 1e12, queue=queue, trouble=trouble, seed=seed)
        assert done.delivered == pytest.approx(1e12, rel=1e-9)
        assert done.seconds >= 1e12 / (3e9 * min(3, workers)) * (1 - 1e-9)
        if trouble == Trouble():
            assert (done.lost, done.failures) == (0.0, 0)


def test_failures_lose_bytes_and_read_them_again() -> None:
    done = simulate(SERVER, 64, 1e12, trouble=TROUBLES, seed=1)
    assert done.failures > 0
    assert 0 < done.lost <= done.failures * 8 * 1e9


@pytest.mark.parametrize(
    ("workers", "seconds"),
    [(1, 1e12 / 2e9), (2, 1e12 / 3e9), (64, 1e12 / 3e9)],
)
def test_one_bottleneck_has_a_closed_form(workers: int, seconds: float) -> None:
    assert simulate(SERVER, workers, 1e12).seconds == pytest.approx(seconds, rel=0.01)


def test_the_opening_is_paid_once_or_for_each_task() -> None:
    way = replace(SERVER, opening=0.5)
    once, each = (simulate(way, 1, 10e9, queue=queue).seconds for queue in (False, True))
    assert once == pytest.approx(0.5 + 5.0, rel=0.01)
    assert each == pytest.approx(10 * (0.5 + 0.5), rel=0.01)


def test_a_slow_machine_takes_its_part_of_the_time() -> None:
    way = Way("disks", {}, {"disks": 1e9})
    slow = Trouble(slow=0.5, slowdown=4.0)
    assert simulate(way, 16, 160e9, trouble=slow).seconds == pytest.approx(40, rel=0.01)
    # From one queue, the 8 fast workers read four fifths of the tasks.
    queued = simulate(way, 16, 160e9, task=0.1e9, trouble=slow, queue=True)
    assert queued.seconds == pytest.approx(16, rel=0.03)


def test_slow_workers_leave_their_part_to_the_rest() -> None:
    """8 slow workers at 0.1 GB/s leave 2.2 of 3 GB/s to the 8 fast ones."""
    way = Way("server", {"network": 3e9}, {"stream": 1e9})
    done = simulate(way, 16, 16e9, trouble=Trouble(slow=0.5, slowdown=10.0))
    assert done.seconds == pytest.approx(10, rel=0.01)
    fast = simulate(way, 8, 8e9)
    assert fast.seconds == pytest.approx(8 / 3, rel=0.01)


def test_more_is_never_slower() -> None:
    """Time falls with capacity, and rises with bytes. More workers are never slower."""
    times = [simulate(SERVER, workers, 1e12).seconds for workers in (1, 2, 8, 64)]
    assert times == sorted(times, reverse=True)
    sizes = [simulate(SERVER, 8, size).seconds for size in (1e9, 1e10, 1e12)]
    assert sizes == sorted(sizes)
    pools = [simulate(replace(SERVER, pools=n), 64, 1e12).seconds for n in (1, 2, 8)]
    assert pools == sorted(pools, reverse=True)
    rates = [
        simulate(replace(SERVER, shared={"network": rate}), 8, 1e12).seconds
        for rate in (1e9, 3e9, math.inf)
    ]
    assert rates == sorted(rates, reverse=True)


def test_equal_seeds_have_equal_epochs() -> None:
    runs = [simulate(SERVER, 64, 1e12, trouble=TROUBLES, seed=s) for s in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


def test_a_resource_without_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="no capacity"):
        simulate(replace(SERVER, shared={"disk space": 0.0}), 1, 1e9)


def test_the_predictions_meet_the_measured_points() -> None:
    """The model is calibrated at two points, and is 35 % off at most elsewhere."""
    rows = scaling.validation(measured(PERFORMANCE.read_text()))
    for row in rows:
        off = 0.01 if row["calibrated"] else 0.35
        assert row["predicted"] == pytest.approx(row["measured"], rel=off), row["point"]


def test_each_way_delivers_the_recording() -> None:
    found = scaling.report(PERFORMANCE, {})
    column = found["given"]["column"]["value"] / 12
    for row in found["epochs"]:
        part = column if "one column" in row["way"] else 1.0
        assert row["delivered"] == pytest.approx(part * row["size"])


def test_an_unknown_number_is_refused() -> None:
    with pytest.raises(SystemExit, match="no such number: speed"):
        scaling.report(PERFORMANCE, {"speed": 1.0})


def test_a_recording_that_does_not_fit_has_no_time() -> None:
    found = scaling.report(PERFORMANCE, {"disk": 1e12})
    full = [row for row in found["epochs"] if row["first"] == "disk space"]
    assert {row["size"] for row in full} == {10e12}
    assert all("seconds" not in row for row in full)
    assert scaling.text_of(found)
