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

from markets.candles import Candles
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from scanner.selectors import cache_key
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
    return cache.get(cache_key(Timeframe.M15)) is not None


def test_scan_no_overlap(client: Client) -> None:
    """F58: while a scan runs the next tick does nothing but count; the one after it scans again."""
    scan_all()
    assert (skipped(client), is_ranked()) == (0.0, True)
    cache.delete(cache_key(Timeframe.M15))
    cache.add("scan:running", 1, 60)  # by another worker
    for ticks in (1, 2):
        scan_all()
        assert (skipped(client), is_ranked()) == (float(ticks), False)
    cache.delete("scan:running")
    scan_all()
    assert (skipped(client), is_ranked()) == (2.0, True)


def closes(client: Client) -> dict[str, float]:
    told = client.get("/api/v1/scan/volatility", {"tf": "15m"}).json()
    return {row["symbol"]: row["last_close"] for row in told["results"]}


def note_closes(close: float, *, age: float = 0.0) -> None:
    """Write a last close that no candle has into the kept scan, made ``age`` seconds earlier."""
    kept = cache.get(cache_key(Timeframe.M15))
    for each in kept["measured"].values():
        each["volatility"]["last_close"] = close
    cache.set(cache_key(Timeframe.M15), {**kept, "made_at": kept["made_at"] - age}, 600)


def test_a_scan_measures_only_pairs_whose_candles_have_changed_since_the_last(client: Client) -> None:
    scan_all()
    measured = closes(client)
    note_closes(12_345.0)
    candle_store.cache_clear()  # another worker scans
    changed = SeriesKey(WELL[0], Timeframe.M15)
    last = candle_store().newest(changed, 1).candle(0)
    for bar in (last._replace(high=2 * last.high), last._replace(open_time=last.open_time + 900_000)):
        candle_store().merge(changed, Candles.of([bar]), source=Source.REST)
        scan_all()
        assert closes(client) == {POISONED: 12_345.0, WELL[1]: 12_345.0, WELL[0]: measured[WELL[0]]}
        kept = cache.get(cache_key(Timeframe.M15))
        assert kept["measured"][WELL[0]]["volatility"]["open_time"] == bar.open_time
        kept["measured"][WELL[0]]["volatility"]["last_close"] = 0.0
        cache.set(cache_key(Timeframe.M15), kept, 600)


def test_a_pair_that_failed_is_measured_again_though_nothing_changed(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        leave_no_memory(patch)
        scan_all()
        assert sorted(closes(client)) == list(WELL)
    scan_all()
    assert sorted(closes(client)) == [POISONED, *WELL]


def test_a_ranking_that_is_old_is_made_on_demand_of_the_pairs_that_have_changed(client: Client) -> None:
    scan_all()
    measured = closes(client)
    note_closes(12_345.0)
    assert set(closes(client).values()) == {12_345.0}
    note_closes(12_345.0, age=100.0)
    changed = SeriesKey(WELL[0], Timeframe.M15)
    last = candle_store().newest(changed, 1).candle(0)
    candle_store().merge(changed, Candles.of([last._replace(high=2 * last.high)]), source=Source.REST)
    assert closes(client) == {POISONED: 12_345.0, WELL[1]: 12_345.0, WELL[0]: measured[WELL[0]]}
