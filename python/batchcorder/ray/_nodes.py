"""The nodes of a cluster: functions that run on one node, or on all nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_T = TypeVar("_T")

# A node that does not answer for so many seconds is left out.
_SECONDS = 60


def live() -> list[str]:
    """Return the ids of the live nodes, this process's node first."""
    here = ray.get_runtime_context().get_node_id()
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    return sorted(nodes, key=lambda node: node != here)


def pinned(node: str) -> NodeAffinitySchedulingStrategy:
    """Return the strategy for a task that fails if the node is gone."""
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _started(node: str, function: Callable[..., Any], *arguments: Any) -> Any:
    task = ray.remote(_called).options(
        num_cpus=0, max_retries=0, scheduling_strategy=pinned(node)
    )
    return task.remote(function, *arguments)


def call(node: str, function: Callable[..., _T], *arguments: Any) -> _T:
    """Call a function on a node; raises its own exception."""
    if node == ray.get_runtime_context().get_node_id():
        return function(*arguments)
    try:
        result: _T = ray.get(_started(node, function, *arguments))
    except RayTaskError as error:
        raise error.cause from None
    return result


def everywhere(function: Callable[..., _T], *arguments: Any) -> dict[str, _T]:
    """Call a function on each node, and return the results of nodes that answered."""
    here, *other = live()
    tasks = {node: _started(node, function, *arguments) for node in other}
    results = {here: function(*arguments)}
    if tasks:
        ray.wait(list(tasks.values()), num_returns=len(tasks), timeout=_SECONDS)
    for node, task in tasks.items():
        try:
            results[node] = ray.get(task, timeout=0)
        except RayTaskError as error:
            raise error.cause from None
        except RayError:
            continue  # the node has died, or does not answer
    return results
