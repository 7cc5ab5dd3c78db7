"""Scans on the schedule: one pair's trouble hides no other, and a slow scan is not joined by the next."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client

from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from scanner.tasks import scan_all
from tests.factories import walk

pytestmark = pytest.mark.django_db

WELL, POISONED = ("BBBUSDT", "CCCUSDT"), "AAAUSDT"


@pytest.fixture(autouse=True)
def _stored(data_root: Path) -> Iterator[None]:
    cache.clear()
    for number, symbol in enumerate((POISONED, *WELL)):
        series = SeriesKey(symbol, Timeframe.M15)
        ensure_series(series, is_active=True)
        candle_store().merge(series, walk(number, 300, timeframe=Timeframe.M15), source=Source.FILE)
    candle_store.cache_clear()  # a worker has not read what another process stored
    yield
    cache.clear()


def damage(_patch: pytest.MonkeyPatch) -> None:
    for file in (settings.DATA_ROOT / "candles" / POISONED / "15m").glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-100])


def leave_no_memory(patch: pytest.MonkeyPatch) -> None:
    """Let Arrow fail as it does where the memory is used up, when it reads this pair's files."""

    class Failing(pq.ParquetFile):  # type: ignore[misc]  # it has no types
        def __init__(self, source: Any, *arguments: Any, **options: Any) -> None:
            if POISONED.encode() in source.read_buffer().to_pybytes():
                raise pa.ArrowMemoryError("malloc of size 1048576 failed")
            source.seek(0)
            super().__init__(source, *arguments, **options)

    patch.setattr(pq, "ParquetFile", Failing)


@pytest.mark.parametrize(
    ("poison", "reason"), [(damage, "too few"), (leave_no_memory, "internal error: ArrowMemoryError")]
)
def test_scanner_isolation(
    client: Client, monkeypatch: pytest.MonkeyPatch, poison: Callable[[pytest.MonkeyPatch], None], reason: str
) -> None:
    """F57: where one pair cannot be read, the others are ranked and that one is told with the reason."""
    poison(monkeypatch)
    scan_all()
    told = client.get("/api/v1/scan/volatility", {"tf": "15m"}).json()
    assert sorted(row["symbol"] for row in told["results"]) == list(WELL)
    assert [each["symbol"] for each in told["skipped"]] == [POISONED]
    assert reason in told["skipped"][0]["reason"]


def skipped(client: Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("smc_scans_skipped_total ")).split()[1])


def is_ranked() -> bool:
    return cache.get("scan:15m") is not None


def test_scan_no_overlap(client: Client) -> None:
    """F58: while a scan runs the next tick does nothing but count; the one after it scans again."""
    scan_all()
    assert (skipped(client), is_ranked()) == (0.0, True)
    cache.delete("scan:15m")
    cache.add("scan:running", 1, 60)  # by another worker
    for ticks in (1, 2):
        scan_all()
        assert (skipped(client), is_ranked()) == (float(ticks), False)
    cache.delete("scan:running")
    scan_all()
    assert (skipped(client), is_ranked()) == (2.0, True)
