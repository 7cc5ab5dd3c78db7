"""Whether the disk takes writes; what is asked before a job is taken, and by ``/health``."""

import tempfile
import time
from dataclasses import dataclass
from functools import cache

from django.conf import settings

from markets.selectors import candle_store

OK, DEGRADED, DOWN = "ok", "degraded", "down"
_STORE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """How one part is. ``detail`` is for operators and told only to those who may know."""

    status: str
    detail: str = ""


class StoreWatch:
    """Whether the disk takes writes, looked at no more than every two seconds."""

    def __init__(self) -> None:
        self._looked_at = float("-inf")
        self._check = Check(OK)

    def check(self) -> Check:
        if time.monotonic() - self._looked_at >= _STORE_SECONDS:
            self._looked_at = time.monotonic()
            self._check = self._look()
        return self._check

    def _look(self) -> Check:
        root = settings.DATA_ROOT
        try:
            if not candle_store().has_space():
                return Check(DOWN, "disk full: writes stopped")
            with tempfile.NamedTemporaryFile(dir=root, suffix=".tmp") as probe:
                probe.write(b"x")
                probe.flush()
            damaged = len(candle_store().set_aside())
        except OSError as error:
            return Check(DOWN, f"{root} cannot be used: {error.strerror}")
        if damaged:
            return Check(DEGRADED, f"{damaged} damaged files were put aside")
        return Check(OK)


@cache
def store_watch() -> StoreWatch:
    return StoreWatch()
