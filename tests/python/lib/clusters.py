"""Clusters of Ray on this machine, and nodes with a directory of their own."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from helpers import wait_until

STORE = 100 << 20
# A dead node is noticed within about two seconds.
CONFIG = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 4,
}


def quiet() -> None:
    """Silence Ray on standard output, which a script uses."""
    logging.disable(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False


def nodes_of(dataset: Any) -> set[str]:
    """Return the nodes on which the blocks of a dataset were made."""
    return {
        metadata.exec_stats.node_id
        for bundle in dataset.iter_internal_ref_bundles()
        for metadata in bundle.metadata
    }


@contextlib.contextmanager
def cluster(cpus: int = 1, **options: Any) -> Iterator[Cluster]:
    """Start a cluster of one node, and connect to it."""
    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": cpus,
            "object_store_memory": STORE,
            "include_dashboard": False,
            "_system_config": CONFIG,
        },
    )
    try:
        ray.init(address=made.address, log_to_driver=False, **options)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def add_node(made: Cluster, cpus: int = 1) -> Any:
    """Start another node."""
    return made.add_node(num_cpus=cpus, object_store_memory=STORE)


@contextlib.contextmanager
def node_with(
    made: Cluster, directory: Path, code: str, cpus: int = 1
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """
    Start a node with its own files in a directory, which the Python code writes.

    The node has its own mounts. No other process sees the files. Yields the process that
    ends with the node, and the node's id.
    """
    before = {node["NodeID"] for node in ray.nodes()}
    ray_command = [Path(sys.executable).with_name("ray"), "start", "--block"]
    options = [f"--address={made.address}", f"--num-cpus={cpus}"]
    options += [f"--object-store-memory={STORE}", "--disable-usage-stats"]
    script = 'mount -t tmpfs none "$1" && "$2" -c "$3" && shift 3 && exec "$@"'
    # The namespace of processes ends with its first one.
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += ["sh", "-c", script, "sh", directory, sys.executable, code]
    command += [*ray_command, *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(
                lambda: len(ray.nodes()) > len(before) or process.poll() is not None
            )
            (node,) = {node["NodeID"] for node in ray.nodes()} - before
            yield process, node
        finally:
            process.kill()
