"""A fluid simulation of an epoch: workers read their shares through shared resources.

A worker reads one task after the other. A pool, such as a server, has a capacity, and its
active workers share it equally, up to the rate of each worker (max-min fairness). Rates
change only when a worker starts or stops. Between two such events, the active workers of
a pool with the same limit read equally many bytes. One clock of bytes for each limit
therefore serves all of its workers.

All workers of a machine that fails lose the bytes of their task, and start again.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

FINISHED = 1.0  # A task with fewer bytes left is complete: clocks are rounded.


@dataclass(frozen=True)
class Way:
    """The resources between a recording and its readers, in bytes a second."""

    name: str
    shared: dict[str, float]  # of one pool
    each: dict[str, float]  # of one worker
    pools: int = 1
    opening: float = 0.0  # seconds until the first byte.
    read: float = 1.0  # fetched bytes for each byte of the recording.
    refetch: float = 0.0  # seconds in which a new machine fetches its share again

    def capacities(self, workers: int) -> dict[str, float]:
        """Return the bytes a second of each resource for all workers together."""
        pools = min(self.pools, workers)
        shared = {name: rate * pools for name, rate in self.shared.items()}
        return shared | {name: rate * workers for name, rate in self.each.items()}


@dataclass(frozen=True)
class Trouble:
    """Failures and slow machines."""

    mtbf: float = math.inf  # seconds between two failures of one machine
    restart: float = 60.0  # seconds until its workers run again
    slow: float = 0.0  # part of the machines
    slowdown: float = 2.0  # times slower


@dataclass
class Epoch:
    seconds: float = 0.0
    delivered: float = 0.0  # bytes of completed tasks
    lost: float = 0.0  # bytes of tasks that were read again
    failures: int = 0


@dataclass
class _Limit:
    """The active workers of a pool with the same limit."""

    most: float
    rate: float = 0.0
    clock: float = 0.0
    active: int = 0
    # The clock at which a task is complete, its worker, and the worker's attempt.
    ends: list[tuple[float, int, int]] = field(default_factory=list)


class _Pool:
    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.limits: dict[float, _Limit] = {}

    def share(self) -> None:
        """Divide the capacity: no active worker gets less unless its limit is lower."""
        left = self.capacity
        active = sum(limit.active for limit in self.limits.values())
        for limit in sorted(self.limits.values(), key=lambda limit: limit.most):
            if limit.active:
                limit.rate = min(limit.most, left / active)
                left -= limit.rate * limit.active
                active -= limit.active

    def advance(self, seconds: float) -> None:
        for limit in self.limits.values():
            if limit.active:
                limit.clock += limit.rate * seconds


@dataclass
class _Worker:
    limit: _Limit
    pool: _Pool
    tasks: deque[float]
    attempt: int = 0
    task: float = 0.0  # the bytes of the task that it reads now, or 0
    began: float = 0.0  # the limit's clock when the task began
    waiting: bool = False


class _Run:
    def __init__(
        self,
        way: Way,
        workers: int,
        size: float,
        task: float,
        machine: int,
        trouble: Trouble,
        queue: bool,
        seed: int,
    ) -> None:
        self.way, self.trouble, self.queue = way, trouble, queue
        self.machine = machine
        self.draw = random.Random(seed)
        self.now = 0.0
        self.found = Epoch()
        self.timed: list[tuple[float, int, str, int, int]] = []
        self.numbers = 0
        machines = -(-workers // machine)
        slow = set(self.draw.sample(range(machines), round(trouble.slow * machines)))
        self.pools = [
            _Pool(min(way.shared.values(), default=math.inf)) for _ in range(way.pools)
        ]
        share = size / workers
        count = max(1, math.ceil(share / task))
        common = deque([share / count] * count * workers)
        most = min(way.each.values())
        if min([most, *way.shared.values()]) <= 0:
            raise ValueError(f"{way.name}: a resource has no capacity")
        self.workers = []
        for number in range(workers):
            pool = self.pools[number % way.pools]
            here = most / (trouble.slowdown if number // machine in slow else 1)
            limit = pool.limits.setdefault(here, _Limit(here))
            own = common if queue else deque([share / count] * count)
            self.workers.append(_Worker(limit, pool, own))
        self.left = count * workers
        for number in range(workers):
            self.start_later(number, way.opening)
        if trouble.mtbf < math.inf:
            for number in range(machines):
                self.fail_later(number)

    def at(self, time: float, kind: str, number: int, attempt: int = 0) -> None:
        self.numbers += 1
        heapq.heappush(self.timed, (time, self.numbers, kind, number, attempt))

    def fail_later(self, machine: int) -> None:
        seconds = self.draw.expovariate(1 / self.trouble.mtbf)
        self.at(self.now + seconds, "failure", machine)

    def start_later(self, number: int, seconds: float) -> None:
        worker = self.workers[number]
        worker.waiting = True
        self.at(self.now + seconds, "start", number, worker.attempt)

    def start(self, number: int) -> None:
        worker = self.workers[number]
        worker.waiting = False
        if not worker.tasks:
            return
        limit = worker.limit
        worker.task, worker.began = worker.tasks.popleft(), limit.clock
        limit.active += 1
        heapq.heappush(limit.ends, (limit.clock + worker.task, number, worker.attempt))

    def stop(self, worker: _Worker) -> None:
        worker.limit.active -= 1
        worker.task = 0.0
        worker.attempt += 1

    def complete(self, number: int) -> None:
        worker = self.workers[number]
        self.found.delivered += worker.task
        self.left -= 1
        self.stop(worker)
        if self.queue:
            self.start_later(number, self.way.opening)
        else:
            self.start(number)

    def fail(self, machine: int) -> None:
        first = machine * self.machine
        numbers = range(first, min(first + self.machine, len(self.workers)))
        busy = [n for n in numbers if self.workers[n].task or self.workers[n].waiting]
        self.found.failures += bool(busy)
        for number in busy:
            worker = self.workers[number]
            if worker.task:
                self.found.lost += worker.limit.clock - worker.began
                worker.tasks.appendleft(worker.task)
                self.stop(worker)
            worker.attempt += 1
            again = self.trouble.restart + self.way.refetch + self.way.opening
            self.start_later(number, again)
        if self.queue:
            # Idle workers take the tasks that the failed ones gave back.
            for number, worker in enumerate(self.workers):
                if not worker.task and not worker.waiting:
                    self.start_later(number, self.way.opening)
        self.fail_later(machine)

    def next_end(self, limit: _Limit) -> float:
        """Return the time of the limit's next completed task."""
        ends = limit.ends
        while ends and self.workers[ends[0][1]].attempt != ends[0][2]:
            heapq.heappop(ends)
        if not ends:
            return math.inf
        return self.now + max(0.0, ends[0][0] - limit.clock) / limit.rate

    def run(self) -> Epoch:
        limits = [limit for pool in self.pools for limit in pool.limits.values()]
        while self.left:
            for pool in self.pools:
                pool.share()
            ends = [self.next_end(limit) for limit in limits]
            time = min(ends)
            if self.timed and self.timed[0][0] < time:
                time = self.timed[0][0]
            for pool in self.pools:
                pool.advance(time - self.now)
            self.now = time
            for limit, end in zip(limits, ends, strict=True):
                if end <= time:
                    self.complete_tasks(limit)
            while self.timed and self.timed[0][0] <= time:
                _, _, kind, number, attempt = heapq.heappop(self.timed)
                if kind == "failure":
                    self.fail(number)
                elif self.workers[number].attempt == attempt:
                    self.start(number)
        self.found.seconds = self.now
        return self.found

    def complete_tasks(self, limit: _Limit) -> None:
        while limit.ends and limit.ends[0][0] <= limit.clock + FINISHED:
            _, number, attempt = heapq.heappop(limit.ends)
            if self.workers[number].attempt == attempt:
                self.complete(number)


def simulate(
    way: Way,
    workers: int,
    size: float,
    *,
    task: float = 1e9,
    machine: int = 8,
    trouble: Trouble | None = None,
    queue: bool = False,
    seed: int = 0,
) -> Epoch:
    """Return the epoch of `workers` that read `size` bytes of a recording.

    A task has at most `task` bytes, and a machine has `machine` workers. Each worker has
    the tasks of its share. With `queue`, all workers take tasks from one queue instead,
    and open the recording for each task.
    """
    run = _Run(way, workers, size, task, machine, trouble or Trouble(), queue, seed)
    return run.run()
