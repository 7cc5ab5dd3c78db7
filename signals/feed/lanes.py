"""Threads for the work of series: a fast lane for live candles, a slow one for what asks the exchange."""

import itertools
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connections


@dataclass(frozen=True, slots=True)
class Done:
    """A job has ended: ``result`` is what it returned or, when ``error`` is set, nothing."""

    name: Any
    result: Any = None
    error: BaseException | None = None


class Lane:
    """Some daemon threads that do jobs as they fall due, urgent ones first. They hold up no exit of the process."""

    def __init__(self, name: str, *, threads: int, tell: Callable[[Done], None]) -> None:
        self._jobs: queue.PriorityQueue[tuple[bool, float, int, Any, Callable[[], Any]]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._tell = tell
        self._is_closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, name: Any, job: Callable[[], Any], *, is_urgent: bool = False, patience: float = 0.0) -> None:
        """Do ``job``, then tell that it is done under ``name``.

        Others that come within ``patience`` seconds, and have none themselves, go before it.
        """
        self._jobs.put((not is_urgent, time.monotonic() + patience, next(self._numbers), name, job))

    @property
    def waiting(self) -> int:
        return self._jobs.qsize()

    def close(self) -> None:
        """Begin no further job."""
        self._is_closing = True
        for _ in self._threads:
            self.submit(None, lambda: None, is_urgent=True)

    def join(self, timeout_seconds: float) -> None:
        for thread in self._threads:
            thread.join(timeout_seconds / len(self._threads))

    def _work(self) -> None:
        try:
            while True:
                _, _, _, name, job = self._jobs.get()
                if self._is_closing:
                    return
                try:
                    done = Done(name, result=job())
                except Exception as error:  # noqa: BLE001 - told to the feed, which knows what to do
                    # A connection to the database that failed is not used again.
                    connections.close_all()
                    done = Done(name, error=error)
                self._tell(done)
        finally:
            connections.close_all()
