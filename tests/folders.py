"""A data folder of a test's own, for whatever finds it by the settings of this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from backtests.selectors import report_shelf
from markets.selectors import candle_store
from signals.selectors.logs import signal_log
from smcsite.store_watch import store_watch


@contextmanager
def data_in(folder: Path) -> Iterator[Path]:
    """Keep candles, signals and reports below ``folder`` meanwhile, and give where the first two are."""
    former = settings.DATA_ROOT, settings.REPORTS_ROOT
    settings.DATA_ROOT, settings.REPORTS_ROOT = folder / "data", folder / "reports"
    settings.DATA_ROOT.mkdir()
    _forget_readers()
    try:
        yield settings.DATA_ROOT
    finally:
        settings.DATA_ROOT, settings.REPORTS_ROOT = former
        _forget_readers()


def _forget_readers() -> None:
    for each in (candle_store, report_shelf, signal_log, store_watch):
        each.cache_clear()
