"""The plan of a recording: the batches that are read, their rows and sizes."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ._files import Description
from ._origins import FileOrigin, FlightOrigin

# Ray counts no rows in a table without columns, and shows no column of this name.
NO_COLUMNS = pa.schema([("__bsp_stub", pa.null())])


class Recording(NamedTuple):
    """A recording of a datasource, and its batches that are read."""

    origin: FileOrigin | FlightOrigin
    description: Description
    batches: np.ndarray

    @classmethod
    def of(cls, origin: FileOrigin | FlightOrigin) -> Recording:
        """Describe a recording."""
        description = origin.described()
        return cls(origin, description, np.arange(len(description.starts) - 1))

    def filtered(self, filter: pc.Expression) -> Recording:
        """Leave out the batches whose statistics exclude a filter."""
        remaining = self.origin.remaining(filter)
        if remaining is None:
            return self
        kept = np.intersect1d(self.batches, np.array(remaining, np.int64))
        return self._replace(batches=kept)

    def rows(self) -> np.ndarray:
        """Return the number of rows of each batch that is read."""
        return np.diff(self.description.starts)[self.batches]

    def bytes(self, columns: list[str] | None) -> np.ndarray:
        """Return the size of some columns of these batches, estimated by their rows."""
        schema, starts, nbytes, sizes = self.description
        share = 1.0
        if columns is not None:
            chosen = [sizes[schema.get_field_index(name)] for name in columns]
            share = sum(chosen) / max(sum(sizes), 1)  # sizes of the first batch
        return nbytes * share * self.rows() / max(int(starts[-1]), 1)

    def schema(self, columns: list[str] | None) -> pa.Schema:
        """Return the schema of some columns; None: all."""
        schema = self.description.schema
        if columns is None:
            return schema
        fields = [schema.field(name) for name in columns]
        return pa.schema(fields, schema.metadata) if fields else NO_COLUMNS

    def check(self, columns: list[str] | None) -> None:
        """Raise KeyError if a column does not exist, or several have its name."""
        names = self.description.schema.names
        counts = Counter(names)
        for name in names if columns is None else columns:
            if counts[name] != 1:
                raise KeyError(
                    f"{self.origin.name!r} has {counts[name]} columns {name!r}: set "
                    "columns= to other names, since Ray finds a column by its name"
                )


def even_cuts(sizes: np.ndarray, parts: int) -> np.ndarray:
    """Cut a sequence into parts of about the same size; each part has an element."""
    parts = max(min(parts, len(sizes)), 1)
    numbers = np.arange(1, parts)
    ends = np.cumsum(sizes)
    wanted = ends[-1:] * numbers / parts if len(sizes) else numbers
    cuts = np.searchsorted(ends, wanted, "right")
    cuts = np.maximum.accumulate(np.maximum(cuts, 1) - numbers) + numbers
    return np.minimum(cuts, len(sizes) - parts + numbers)
