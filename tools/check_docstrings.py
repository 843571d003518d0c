#!/usr/bin/env python3
"""Validate the docstrings of all public objects with numpydoc; imports the package.

pyproject.toml has the checks ([tool.numpydoc_validation]). Members of the C extension are
validated too, which numpydoc's own command, a reader of source files, cannot do.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import itertools
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from numpydoc.validate import ERROR_MSGS, validate

import batchcorder

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
# Errors of numpydoc's that do not apply.
EXCEPTIONS = {
    ("batchcorder.ArrowStream", "PR01"): "a protocol has no constructor",
    ("batchcorder.flight.Client", "PR01"): "connect() makes it",
    ("batchcorder.flight.Server", "PR01"): "serve() makes it",
}


def is_ours(kind: type, name: str) -> bool:
    """Return whether the package defines a member, and not a base of another library."""
    owners = [base for base in kind.__mro__ if name in vars(base)]
    return owners[0].__module__.partition(".")[0] == "batchcorder"


def names(module: ModuleType) -> Iterator[str]:
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield f"{module.__name__}.{name}"
        if inspect.isclass(thing):
            members = (one for one in dir(thing) if not one.startswith("_"))
            yield from (
                f"{module.__name__}.{name}.{one}"
                for one in members
                if is_ours(thing, one)
            )


def modules() -> Iterator[ModuleType]:
    yield batchcorder
    yield importlib.import_module("batchcorder.flight")
    # make test-torch installs PyTorch, and then validates this module.
    if importlib.util.find_spec("torch") is not None:
        yield importlib.import_module("batchcorder.torch")
    # make test-ray installs Ray.
    if importlib.util.find_spec("ray") is not None:
        yield importlib.import_module("batchcorder.ray")


def main() -> int:
    wanted = tomllib.loads(PROJECT.read_text())["tool"]["numpydoc_validation"]["checks"]
    # As numpydoc reads the list: after "all" come the checks to leave out.
    checks = {*ERROR_MSGS} - {*wanted} if "all" in wanted else {*wanted}
    count = failures = 0
    for name in itertools.chain.from_iterable(map(names, modules())):
        count += 1
        for code, text in validate(name)["errors"]:
            if code in checks and (name, code) not in EXCEPTIONS:
                failures += 1
                print(f"{name}: {code}: {text}")
    print(f"{count} docstrings, {failures} errors")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
