"""Recordings as datasets of PyTorch. Needs torch and numpy."""

from ._recording_dataset import RecordingDataset
from ._row_dataset import RowDataset

__all__ = ["RecordingDataset", "RowDataset"]

for _thing in (RecordingDataset, RowDataset):
    _thing.__module__ = __name__
del _thing
