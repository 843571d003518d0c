"""The fetcher of remote objects: few requests, right bytes, errors for all readers."""

from __future__ import annotations

import errno
import gc
import itertools
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import children
from batchcorder._remote import _requests
from batchcorder._remote._fetcher import Fetcher
from batchcorder._remote._local import LocalCopy
from batchcorder._remote._ranges import Ranges, joined, split
from helpers import DEADLINE, Task, check_python, wait_until
from memory_store import MemoryStore, content

KIB = 1 << 10
MIB = 1 << 20
DATA = content(3 * MIB)
BIG = content(24 * MIB)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_requests, "_PAUSE", 0.0)


def fetcher_of(store: MemoryStore, **options: object) -> Fetcher:
    return Fetcher(store, store.identity, **options)  # type: ignore[arg-type]


def read(fetcher: Fetcher, *ranges: tuple[int, int]) -> list[bytes]:
    found = fetcher.read(ranges)
    assert found is not None
    return [bytes(one) for one in found]


def parts(data: bytes, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    return [data[offset : offset + size] for offset, size in ranges]


def settled(fetcher: Fetcher) -> None:
    """Wait until no thread works for the fetcher."""
    wait_until(lambda: not fetcher._requests._threads)


class Holder:
    """Holds all calls of a store until it is opened."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers
        self.gate = threading.Event()

    def __call__(self, number: int) -> None:
        if not self.numbers or number in self.numbers:
            assert self.gate.wait(DEADLINE), "the holder was never opened"


class Failing:
    """Raises an error before the first calls."""

    def __init__(self, error: Callable[[], BaseException], count: int) -> None:
        self.error = error
        self.count = count

    def __call__(self, number: int) -> None:
        if number < self.count:
            raise self.error()


def broken() -> OSError:
    return OSError(errno.ECONNRESET, "the connection broke")


# ---- ranges ----

RANGES = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 60)).map(lambda r: (r[0], sum(r)))
)


@given(RANGES, st.integers(0, 400), st.integers(0, 400))
def test_a_set_of_ranges_equals_a_set_of_bytes(
    ranges: list[tuple[int, int]], start: int, end: int
) -> None:
    found, model = Ranges(), set()
    for low, high in ranges:
        found.add(low, high)
        model |= {*range(low, high)}
    holes = found.missing(start, end)
    assert found.has(start, end) == (not holes)
    assert {i for hole in holes for i in range(*hole)} == {*range(start, end)} - model
    assert all(one[1] < two[0] for one, two in itertools.pairwise(holes))


@given(RANGES)
def test_joined_ranges_are_disjoint_and_have_all_bytes(
    ranges: list[tuple[int, int]],
) -> None:
    found = joined(ranges, lambda start, end: True)
    wanted = {i for one in ranges for i in range(*one)}
    got = {i for start, end, _ in found for i in range(start, end)}
    assert got >= wanted
    assert sum(count for _, _, count in found) == len(wanted)
    assert len(got) <= 1.1 * len(wanted)
    assert all(one[1] < two[0] for one, two in itertools.pairwise(found))


@given(st.integers(0, 1000), st.integers(1, 40 * MIB))
def test_a_split_request_has_all_bytes(start: int, size: int) -> None:
    found = [*split(start, start + size, size)]
    assert found[0][0] == start
    assert found[-1][1] == start + size
    assert all(one[1] == two[0] for one, two in itertools.pairwise(found))
    assert all(0 < end - begin <= 8 * MIB for begin, end, _ in found)


# ---- requests ----


def test_neighbouring_ranges_are_one_request() -> None:
    store = MemoryStore(DATA)
    ranges = [(100 * KIB, 40 * KIB), (141 * KIB, 40 * KIB), (181 * KIB, 8)]
    assert read(fetcher_of(store), *ranges) == parts(DATA, ranges)
    assert store.requests == [(100 * KIB, 81 * KIB + 8)]


def test_distant_ranges_are_requests_at_the_same_time() -> None:
    holder = Holder()
    store = MemoryStore(DATA, before=holder)
    task = Task(read, fetcher_of(store), *[(i * 100 * KIB, 10) for i in range(8)])
    wait_until(lambda: store.in_flight == 8)
    holder.gate.set()
    assert task.result() == parts(DATA, [(i * 100 * KIB, 10) for i in range(8)])


def test_a_large_range_is_several_requests_at_the_same_time() -> None:
    holder = Holder()
    store = MemoryStore(BIG, before=holder)
    task = Task(read, fetcher_of(store), (0, len(BIG)))
    wait_until(lambda: store.in_flight == 3)
    holder.gate.set()
    assert task.result() == [BIG]
    assert store.fetched == len(BIG)


@pytest.mark.parametrize("column", [100, 2 * KIB, 64 * KIB])
def test_one_column_of_twelve_fetches_few_bytes_more(column: int) -> None:
    store = MemoryStore(DATA)
    fetcher = fetcher_of(store)
    batches = len(DATA) // (12 * column)
    offsets = range(0, min(batches, 40) * 12 * column, 12 * column)
    fetcher.ahead([(offset, column) for offset in offsets])
    for offset in offsets:
        assert read(fetcher, (offset, column)) == parts(DATA, [(offset, column)])
    assert store.fetched <= 1.2 * len(offsets) * column


def test_bytes_are_requested_once_by_32_threads() -> None:
    holder = Holder()
    store = MemoryStore(DATA, before=holder)
    fetcher = fetcher_of(store)
    tasks = [Task(read, fetcher, (1000 + i, 5000)) for i in range(32)]
    wait_until(lambda: sum(one.readers for one in fetcher.pieces.all()) >= 32)
    holder.gate.set()
    for i, task in enumerate(tasks):
        assert task.result() == parts(DATA, [(1000 + i, 5000)])
    assert store.fetched == 5031


def test_no_more_requests_are_in_flight_than_allowed_and_no_thread_stays() -> None:
    store = MemoryStore(DATA)
    fetcher = fetcher_of(store, requests=3)
    ranges = [(i * 30 * KIB, 10) for i in range(100)]
    assert read(fetcher, *ranges) == parts(DATA, ranges)
    assert store.in_flight_max <= 3
    settled(fetcher)


def test_a_range_inside_a_piece_is_not_copied() -> None:
    fetcher = fetcher_of(MemoryStore(DATA))
    (whole,) = fetcher.read([(0, KIB)])
    (part,) = fetcher.read([(10, 20)])
    assert isinstance(whole, memoryview)
    assert isinstance(part, memoryview)
    assert part.obj is whole.obj
    assert part.readonly


def test_ranges_outside_the_object_and_empty_ranges() -> None:
    fetcher = fetcher_of(MemoryStore(DATA))
    assert read(fetcher, (5, 0), (len(DATA), 0)) == [b"", b""]
    for wrong in [(-1, 5), (len(DATA) - 1, 2), (0, -1)]:
        with pytest.raises(OSError, match="outside the object") as caught:
            fetcher.read([wrong])
        assert caught.value.errno == errno.EINVAL


WANTED = st.lists(st.tuples(st.integers(0, 190_000), st.integers(0, 9_000)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["read", "ahead"]), WANTED), max_size=12),
    st.sampled_from([1, 5_000, 50_000, MIB]),
    st.booleans(),
)
def test_random_ranges_have_the_bytes_of_the_object(
    calls: list[tuple[str, list[tuple[int, int]]]], memory: int, checks: bool
) -> None:
    data = DATA[:200_000]
    store = MemoryStore(data, checks)
    fetcher = fetcher_of(store, memory=memory)
    for call, ranges in calls:
        if call == "ahead":
            fetcher.ahead(ranges)
            continue
        found = fetcher.read(ranges)
        assert [bytes(one) for one in found] == parts(data, ranges)
    settled(fetcher)
    fetcher.close()


# ---- read-ahead ----


def test_ahead_says_whether_all_bytes_are_there() -> None:
    store = MemoryStore(DATA)
    fetcher = fetcher_of(store)
    assert not fetcher.ahead([(0, 10), (MIB, 10)])
    settled(fetcher)
    assert fetcher.ahead([(0, 10), (MIB, 10)])
    read(fetcher, (0, 10), (MIB, 10))
    assert len(store.requests) == 2


def test_an_error_of_read_ahead_is_silent() -> None:
    store = MemoryStore(DATA, before=Failing(broken, 5))
    fetcher = fetcher_of(store)
    assert fetcher.ahead([(7, 100)]) is False
    settled(fetcher)
    assert store.calls == 5
    assert fetcher.ahead([(7, 100)]) is False
    settled(fetcher)
    assert fetcher.ahead([(7, 100)])
    read(fetcher, (7, 100))


def test_a_reader_that_waits_comes_before_read_ahead() -> None:
    holder = Holder(0)
    store = MemoryStore(DATA, before=holder)
    fetcher = fetcher_of(store, requests=1)
    fetcher.ahead([(i * 100 * KIB, 10) for i in range(6)])
    wait_until(lambda: store.calls == 1)
    task = Task(read, fetcher, (500 * KIB, 10), (700 * KIB, 10))
    wait_until(lambda: len(fetcher._requests._urgent) == 2)
    holder.gate.set()
    task.result()
    settled(fetcher)
    order = [offset // (100 * KIB) for offset, _ in store.requests]
    assert order[0] == 0
    assert sorted(order[1:3]) == [5, 7]
    assert order[3:] == [1, 2, 3, 4]


def test_read_ahead_leaves_requests_to_readers() -> None:
    holder = Holder(*range(12))
    store = MemoryStore(DATA, before=holder)
    fetcher = fetcher_of(store, requests=16)
    fetcher.ahead([(i * 100 * KIB, 10) for i in range(20)])
    wait_until(lambda: store.in_flight == 12)
    assert Task(read, fetcher, (2500 * KIB, 10)).result() == parts(
        DATA, [(2500 * KIB, 10)]
    )
    holder.gate.set()
    settled(fetcher)
    assert len(store.requests) == 21


def test_read_ahead_beyond_the_memory_is_ignored_and_unused_bytes_stay() -> None:
    store = MemoryStore(DATA)
    fetcher = fetcher_of(store, memory=100 * KIB)
    answers = [fetcher.ahead([(i * 100 * KIB, 40 * KIB)]) for i in range(10)]
    assert answers == [False] * 2 + [None] * 8
    settled(fetcher)
    assert sorted(store.requests) == [(0, 40 * KIB), (100 * KIB, 40 * KIB)]
    # A reader of other bytes does not displace them.
    read(fetcher, (2 * MIB, 50 * KIB))
    read(fetcher, (100 * KIB, 40 * KIB), (0, 40 * KIB))
    assert len(store.requests) == 3
    # Now they are used.
    assert not fetcher.ahead([(500 * KIB, 40 * KIB)])
    settled(fetcher)
    assert len(store.requests) == 4


def test_bytes_fetched_ahead_in_vain_are_dropped_in_the_end() -> None:
    store = MemoryStore(DATA)
    fetcher = fetcher_of(store, memory=100 * KIB)
    fetcher.ahead([(0, 90 * KIB)])
    for i in range(4):
        read(fetcher, (MIB + i * 100 * KIB, 60 * KIB))
    assert not fetcher.ahead([(2 * MIB, 90 * KIB)])
    settled(fetcher)
    assert store.requests[-1] == (2 * MIB, 90 * KIB)


def test_memory_is_bounded_by_the_budget_and_the_requests_of_readers() -> None:
    store = MemoryStore(BIG)
    fetcher = fetcher_of(store, memory=2 * MIB)
    for offset in range(0, len(BIG), 512 * KIB):
        fetcher.ahead([(offset, 512 * KIB), (offset // 2, 100 * KIB)])
        assert read(fetcher, (offset, 512 * KIB)) == parts(BIG, [(offset, 512 * KIB)])
    assert fetcher.pieces.size_max <= 2 * MIB + 512 * KIB
    settled(fetcher)
    assert fetcher.pieces.size <= 2 * MIB


def test_a_sequential_reader_is_fetched_ahead_of() -> None:
    store = MemoryStore(BIG)
    fetcher = fetcher_of(store)
    for offset in range(0, 640 * KIB, 128 * KIB):
        read(fetcher, (offset, 128 * KIB))
    settled(fetcher)
    assert store.fetched > 6 * MIB
    assert len(store.requests) <= 6
    before = store.fetched
    # A jump closes the window.
    read(fetcher, (20 * MIB, 128 * KIB))
    settled(fetcher)
    assert store.fetched == before + 128 * KIB


def test_a_projection_is_not_fetched_ahead_of() -> None:
    store = MemoryStore(BIG)
    fetcher = fetcher_of(store)
    for offset in range(0, 8 * MIB, 256 * KIB):
        read(fetcher, (offset, 128 * KIB))
    settled(fetcher)
    assert store.fetched == 4 * MIB


# ---- errors ----


@pytest.mark.parametrize("count", range(1, 5))
def test_transient_errors_are_tried_again(count: int) -> None:
    store = MemoryStore(DATA, before=Failing(broken, count))
    assert read(fetcher_of(store), (9, 90)) == parts(DATA, [(9, 90)])
    assert store.calls == count + 1


@pytest.mark.parametrize(
    ("error", "calls"),
    [(broken, 5), (lambda: FileNotFoundError(errno.ENOENT, "no object"), 1)],
)
def test_all_readers_get_the_error_and_may_ask_again(
    error: Callable[[], OSError], calls: int
) -> None:
    holder = Holder(0)
    failing = Failing(error, calls)

    def before(number: int) -> None:
        holder(number)
        failing(number)

    store = MemoryStore(DATA, before=before)
    fetcher = fetcher_of(store)
    tasks = [Task(read, fetcher, (0, 100)) for _ in range(5)]
    wait_until(lambda: [one.readers for one in fetcher.pieces.all()] == [5])
    holder.gate.set()
    errors = []
    for task in tasks:
        with pytest.raises(type(error())) as caught:
            task.result()
        errors.append(caught.value)
    assert len({id(one) for one in errors}) == 5
    assert {one.errno for one in errors} == {error().errno}
    assert {one.filename for one in errors} == {store.url}
    assert store.calls == calls
    assert read(fetcher, (0, 100)) == parts(DATA, [(0, 100)])


def test_one_of_many_requests_fails() -> None:
    def before(number: int) -> None:
        if number == 3:
            raise FileNotFoundError(errno.ENOENT, "no object")

    store = MemoryStore(DATA, before=before)
    fetcher = fetcher_of(store)
    ranges = [(i * 100 * KIB, 10) for i in range(8)]
    with pytest.raises(FileNotFoundError):
        read(fetcher, *ranges)
    assert read(fetcher, *ranges) == parts(DATA, ranges)


class Short(MemoryStore):
    """A store whose first answers lack a byte."""

    def read(self, offset: int, size: int) -> bytes:
        data = super().read(offset, size)
        return data[:-1] if self.calls <= 2 else data


def test_a_short_answer_is_asked_again() -> None:
    store = Short(DATA)
    assert read(fetcher_of(store), (9, 90)) == parts(DATA, [(9, 90)])
    assert store.calls == 3


def test_an_exception_that_is_no_oserror_is_the_cause() -> None:
    store = MemoryStore(DATA, before=Failing(lambda: TypeError("a bug"), 1))
    with pytest.raises(OSError, match="TypeError: a bug") as caught:
        read(fetcher_of(store), (0, 10))
    assert isinstance(caught.value.__cause__, TypeError)


def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    fetcher = fetcher_of(MemoryStore(DATA))
    with monkeypatch.context() as patch:
        patch.setattr(_requests.threading.Thread, "start", start)
        assert not fetcher.ahead([(0, 10)])
        with pytest.raises(OSError, match="no thread can be started") as caught:
            read(fetcher, (0, 10))
        assert caught.value.errno == errno.EAGAIN
    assert read(fetcher, (0, 10)) == parts(DATA, [(0, 10)])


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_threads_with_random_calls_and_faults(
    tmp_path: Path, checks: bool, seed: int
) -> None:
    chance = random.Random(seed)

    def before(_number: int) -> None:
        if chance.random() < 0.3:
            raise broken()

    store = MemoryStore(DATA, checks, before)
    local = LocalCopy(tmp_path, store.url, store.identity, limit=MIB) if seed else None
    fetcher = fetcher_of(store, local=local, memory=200 * KIB, requests=4)

    def call(seed: int) -> int:
        chance = random.Random(seed)
        failures = 0
        for _ in range(100):
            ranges = [
                (chance.randrange(2 * MIB), chance.randrange(60 * KIB))
                for _ in range(chance.randrange(4))
            ]
            if chance.random() < 0.3:
                fetcher.ahead(ranges)
            try:
                found = fetcher.read(ranges)
            except ConnectionResetError:
                failures += 1
                continue
            assert [bytes(one) for one in found] == parts(DATA, ranges)
        return failures

    tasks = [Task(call, seed) for seed in range(8)]
    assert sum(task.result() for task in tasks) < 400
    settled(fetcher)
    assert all(one.readers == 0 for one in fetcher.pieces.all())
    assert fetcher.pieces.size <= 200 * KIB
    fetcher.close()


def test_the_start_of_a_thread_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise KeyboardInterrupt

    fetcher = fetcher_of(MemoryStore(DATA), requests=1)
    with monkeypatch.context() as patch:
        patch.setattr(_requests.threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            read(fetcher, (0, 10))
    assert Task(read, fetcher, (0, 10)).result() == parts(DATA, [(0, 10)])


# ---- the object's identity ----


def unless_stale(fetcher: Fetcher, *ranges: tuple[int, int]) -> list[bytes] | None:
    """Return the bytes, or None: the object has changed."""
    try:
        return read(fetcher, *ranges)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return None


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("moment", range(14))
def test_a_changed_object_is_never_a_mixture(checks: bool, moment: int) -> None:
    new = content(len(DATA), 1)

    def before(number: int) -> None:
        if number == moment:
            store.change(new)

    store = MemoryStore(DATA, checks, before)
    fetcher = fetcher_of(store, requests=2)
    with fetcher.unconfirmed():
        fetcher.prefetch_opening()
        # The checksums of a file reject a mixture of these.
        opening = unless_stale(fetcher, (0, KIB), (len(DATA) - KIB, KIB))
    failed = opening is None
    for i in range(8):
        ranges = [(i * 300 * KIB, 100), (i * 300 * KIB + 100 * KIB, 100), (0, KIB)]
        found = unless_stale(fetcher, *ranges)
        assert found in ([None] if failed else [None, parts(DATA, ranges)])
        failed = found is None
    assert failed or store.version == 0
    if failed:
        with pytest.raises(OSError, match="changed"):
            fetcher.ahead([(0, 10)])


def test_one_confirmation_is_for_all_answers_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_requests, "_CONFIRMATIONS", 1)
    holder = Holder(1)
    store = MemoryStore(DATA, checks_reads=False, before=holder)
    fetcher = fetcher_of(store, requests=4)
    first = Task(read, fetcher, (0, 10))
    wait_until(lambda: store.confirmations == 1)
    ranges = [(i * 100 * KIB, 10) for i in range(1, 21)]
    rest = Task(read, fetcher, *ranges)
    wait_until(lambda: len(fetcher._requests._arrived) == 20)
    # Their answers came during the call, which therefore is not theirs.
    assert store.confirmations == 1
    holder.gate.set()
    assert first.result() == parts(DATA, [(0, 10)])
    assert rest.result() == parts(DATA, ranges)
    assert store.confirmations == 2


def test_a_failed_confirmation_is_the_error_of_its_answers() -> None:
    def before(number: int) -> None:
        if number == 1:
            raise PermissionError(errno.EACCES, "no more")

    store = MemoryStore(DATA, checks_reads=False, before=before)
    fetcher = fetcher_of(store)
    with pytest.raises(PermissionError):
        read(fetcher, (0, 10))
    assert read(fetcher, (0, 10)) == parts(DATA, [(0, 10)])


@pytest.mark.parametrize(
    ("size", "requests"), [(0, 0), (1, 1), (100_000, 1), (200_000, 2), (len(DATA), 2)]
)
def test_opening_takes_two_requests_and_no_confirmation(size: int, requests: int) -> None:
    data = DATA[:size]
    store = MemoryStore(data, checks_reads=False)
    fetcher = fetcher_of(store)
    with fetcher.unconfirmed():
        fetcher.prefetch_opening()
        head, tail = min(size, 16 * KIB), min(size, 64 * KIB)
        ranges = [(size - tail, tail), (0, head)]
        assert read(fetcher, *ranges) == parts(data, ranges)
    assert (len(store.requests), store.confirmations) == (requests, 0)
    # Later readers of these bytes need the confirmation, once.
    for _ in range(2):
        assert read(fetcher, (0, head), (size - 10 * (size > 10), 0)) == [
            data[:head],
            b"",
        ]
    assert (len(store.requests), store.confirmations) == (requests, min(size, 1))


# ---- the end ----


def test_close_wakes_readers() -> None:
    holder = Holder()
    store = MemoryStore(DATA, before=holder)
    fetcher = fetcher_of(store, requests=2)
    tasks = [Task(read, fetcher, (i * 100 * KIB, 10)) for i in range(5)]
    wait_until(lambda: len(fetcher.pieces.all()) == 5)
    fetcher.close()
    for task in tasks:
        with pytest.raises(OSError, match="is closed") as caught:
            task.result()
        assert caught.value.errno == errno.ECANCELED
    assert store.is_closed
    fetcher.close()
    with pytest.raises(OSError, match="is closed"):
        fetcher.ahead([(0, 10)])
    holder.gate.set()
    settled(fetcher)
    assert fetcher.pieces.size == 0


def test_a_dropped_fetcher_leaves_no_thread() -> None:
    holder = Holder()
    store = MemoryStore(DATA, before=holder)
    fetcher = fetcher_of(store, requests=2)
    fetcher.ahead([(i * 100 * KIB, 10) for i in range(20)])
    threads = [*fetcher._requests._threads]
    wait_until(lambda: store.calls > 0)
    del fetcher
    gc.collect()
    holder.gate.set()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert len(store.requests) <= 2


def test_close_in_a_thread_of_the_fetcher_takes_no_lock() -> None:
    def before(_number: int) -> None:
        # As the garbage collector would, in any line of the thread.
        with fetcher._requests.lock:
            fetcher.close()

    store = MemoryStore(DATA, before=before)
    fetcher = fetcher_of(store)
    fetcher.ahead([(0, 10)])
    settled(fetcher)
    assert store.calls == 1


def test_reads_in_a_forks_child_raise() -> None:
    holder = Holder()
    fetcher = fetcher_of(MemoryStore(DATA, before=holder))
    task = Task(read, fetcher, (0, 10))
    wait_until(lambda: fetcher.pieces.all())

    def in_child() -> None:
        for call in (lambda: read(fetcher, (0, 10)), lambda: fetcher.ahead([(0, 10)])):
            with pytest.raises(OSError, match="before a fork") as caught:
                call()
            assert caught.value.errno == errno.ECANCELED
        fetcher.close()

    assert children.status(children.fork(in_child)) == 0
    holder.gate.set()
    assert task.result() == parts(DATA, [(0, 10)])


@pytest.fixture
def interrupted() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupted")
def test_a_reader_that_waits_can_be_interrupted() -> None:
    holder = Holder()
    fetcher = fetcher_of(MemoryStore(DATA, before=holder))

    def interrupt() -> None:
        wait_until(lambda: any(one.done.waiting for one in fetcher.pieces.all()))
        os.kill(os.getpid(), signal.SIGINT)

    task = Task(interrupt)
    with pytest.raises(KeyboardInterrupt):
        read(fetcher, (0, 10))
    task.result()
    holder.gate.set()
    assert read(fetcher, (0, 10)) == parts(DATA, [(0, 10)])
    assert [one.readers for one in fetcher.pieces.all()] == [0]


@pytest.mark.parametrize("hangs", [False, True])
def test_an_interpreter_exits_during_requests(hangs: bool) -> None:
    check_python(
        f"""
        import threading
        from batchcorder._remote import _requests
        from batchcorder._remote._fetcher import Fetcher
        from helpers import wait_until
        from memory_store import MemoryStore

        _requests._EXIT_MAX = 0.5 if {hangs} else 100.0
        held = threading.Event()
        store = MemoryStore(bytes(1 << 20), before=lambda _: held.wait())
        fetcher = Fetcher(store, store.identity)
        fetcher.ahead([(i << 16, 100) for i in range(16)])
        wait_until(lambda: store.in_flight > 0)
        if not {hangs}:
            held.set()
        """
    )
