"""The logs of this process's data folder, brought up to the stored candles when nobody else does it."""

import logging
import os
import time
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from django.conf import settings

from markets.errors import CorruptFileError, StoreError
from markets.selectors import candle_store, held_from
from markets.series import SeriesKey
from markets.store.layout import series_below
from signals.log import LogView, SeriesLog, SignalLog
from signals.log.journal import NAME

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# The live feed folds a stored candle within milliseconds. A log that stays behind for longer has no feed.
_PATIENCE_SECONDS = 1.0
_QUIET_SECONDS = 5.0
_TRIES = 3

_behind_since: dict[tuple[SeriesKey, int, int], float] = {}


@cache
def signal_log(root: Path) -> SignalLog:
    """Return this process's reader of the logs in ``root``."""
    return SignalLog(root)


def fresh_view(series: SeriesKey) -> LogView | None:
    """Return a series' log; None where nothing is stored of it.

    A log that is missing, or behind with no feed at work, is brought up first: candles that were imported while
    the service was down have their signals as soon as somebody asks. Where the feed waits for a candle that may come
    yet, nothing behind it is judged, or the signals would be others when it has come.
    """
    log = signal_log(settings.DATA_ROOT)
    view = log.view(series)
    if not _must_fold(series, view):
        return view
    held = held_from(series)
    if view is not None and held is not None and view.through + series.timeframe.milliseconds >= held:
        return view
    try:
        SeriesLog(series, store=candle_store(), root=settings.DATA_ROOT).catch_up(before=held)
    except StoreError:
        # Nothing can be written, as on a full disk: what is there is told.
        logger.exception("a signal log cannot be brought up", extra={"series": str(series)})
        return view
    return log.view(series)


def reads_again(read: Callable[P, T]) -> Callable[P, T]:
    """Let a reader read again when its log was replaced on the way, or taken away because a file was damaged."""

    @wraps(read)
    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_TRIES):
            try:
                return read(*args, **kwargs)
            except (CorruptFileError, FileNotFoundError):
                logger.info("a signal log is read again", exc_info=True)
        return read(*args, **kwargs)

    return again


def mends(read: Callable[P, T]) -> Callable[P, T]:
    """Let a reader of ``signal_log`` read again as of ``reads_again``.

    What it loaded counts once it is done: of all series together that may be too much to keep.
    """
    again = reads_again(read)

    @wraps(read)
    def then_trimmed(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return again(*args, **kwargs)
        finally:
            signal_log(settings.DATA_ROOT).trim()

    return then_trimmed


def _must_fold(series: SeriesKey, view: LogView | None) -> bool:
    last, edit = candle_store().version(series)
    if last is None:
        return False
    if view is None:
        return True
    if view.through >= last and view.edit == edit:
        return False
    now = time.monotonic()
    noticed = _behind_since.setdefault((series, view.through, edit), now)
    is_quiet = time.time() - os.stat(view.folder / NAME).st_mtime > _QUIET_SECONDS  # noqa: PTH116
    is_far = last - view.through > 3 * series.timeframe.milliseconds or view.edit != edit
    if now - noticed < _PATIENCE_SECONDS and not (is_quiet and is_far):
        return False
    _behind_since.pop((series, view.through, edit), None)
    return True


def stored_series(symbol: str | None = None, timeframe: str | None = None) -> list[SeriesKey]:
    """Return the stored series, of one symbol or timeframe where given."""
    store = candle_store()
    # To ask a series for its version costs a look at its folder; to list the folder costs four.
    return [
        key
        for key in series_below(store.root)
        if symbol in (None, key.symbol)
        and timeframe in (None, key.timeframe.value)
        and store.version(key)[0] is not None
    ]
