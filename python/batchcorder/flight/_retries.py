"""When a client connects again, and when it gives up."""

from __future__ import annotations

import random
import time

import pyarrow as pa
import pyarrow.flight as fl

from ._connection import Connection
from ._errors import is_broken

# Failures before the first answer: the address may be wrong.
_FIRST_MAX = 5
_DEADLINE_MAX = 3600.0
_PAUSE_MAX = 5.0


class Retries:
    """
    Counts the connections that broke one after the other.

    A call has a deadline, because a machine that vanishes closes no connection. A call
    that passes its deadline counts as broken, and the next call uses another TCP
    connection. The second call in a row may take longer, because a batch may take longer
    than the deadline.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._failures = 0
        # The address is right.
        self.has_answered = False
        self.deadline = connection.timeout

    def answered(self) -> None:
        """Forget the failures, because the server has sent something."""
        self._failures = 0
        self.has_answered = True

    def wait_after(self, error: BaseException) -> None:
        """Wait before the next connection, or raise the error as the user's."""
        self._failures += 1
        most = self._connection.retries
        if not self.has_answered:
            most = min(most, _FIRST_MAX)
        if not is_broken(error) or self._failures > most:
            raise self._connection.error(error, self._name) from None
        if isinstance(error, fl.FlightTimedOutError):
            self._connection.renew()
            if self._failures > 1:
                self.deadline = min(2 * self.deadline, _DEADLINE_MAX)
        pause = min(0.05 * 2**self._failures, _PAUSE_MAX)
        time.sleep(pause * random.uniform(0.5, 1.0))


# Errors of calls.
FAILURES = (fl.FlightError, pa.ArrowException)

__all__ = ["FAILURES", "Retries"]
