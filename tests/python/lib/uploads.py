"""Interrupts in the middle of uploads."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from batchcorder._remote import _upload


def interrupt_uploads(monkeypatch: pytest.MonkeyPatch, least: int) -> None:
    """Interrupt the main thread when an upload reads the local file from `least` on."""
    read, check = _upload.LocalFile.read, _upload.Upload.check
    stopped: list[threading.Event] = []

    def remember(self: Any, overwrite: bool) -> None:
        stopped.append(self.stopped)
        check(self, overwrite)

    def interrupt(self: Any, offset: int) -> bytes:
        if offset >= least and not stopped[0].is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            assert stopped[0].wait(120)
        return read(self, offset)

    monkeypatch.setattr(_upload.Upload, "check", remember)
    monkeypatch.setattr(_upload.LocalFile, "read", interrupt)
