"""Small probes of all behaviour that code for batchcorder 0.1.3 can observe."""

from . import (
    arguments,
    casting,
    failing,
    limits,
    objects,
    reading,
    sources,
    subclasses,
    types,
)
from .probing import PROBES, run_probe

__all__ = [
    "PROBES",
    "arguments",
    "casting",
    "failing",
    "limits",
    "objects",
    "reading",
    "run_probe",
    "sources",
    "subclasses",
    "types",
]
