"""Waiting in tests: for a condition, never for luck."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], *, seconds: float = 10.0, every: float = 0.01) -> None:
    """Return once ``condition`` holds; fail when it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(every)
