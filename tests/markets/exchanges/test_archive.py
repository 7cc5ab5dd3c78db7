"""The bulk archive: which files hold a range, and what comes of sound, missing and damaged ones."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from markets.errors import BadAnswerError, ExchangeUnavailableError
from markets.exchanges import ArchiveFile
from markets.exchanges.binance_archive import BinanceArchive, parse
from markets.series import SeriesKey
from tests.replaying import LocalReplay, replay

SERIES = SeriesKey.of("BTCUSDT", "1h")
NOW = int(datetime(2024, 6, 3, 12, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000
ROW = b"1704067200000,100.0,102.0,99.0,101.0,7.5,1704070799999,757.5,12,3.5,353.5,0\n"


def day(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def market() -> Iterator[LocalReplay]:
    with replay(symbols=["BTCUSDT"], speed=0.0, start=NOW) as exchange:
        yield exchange


def names(start: str, end: str) -> list[str]:
    archive = BinanceArchive("http://127.0.0.1:9")
    return [file.name for file in archive.plan(SERIES, day(start), day(end), NOW)]


def test_whole_months_come_as_months_and_the_running_one_by_days() -> None:
    assert names("2024-04-01", "2024-06-03") == [
        "BTCUSDT-1h-2024-04.zip",
        "BTCUSDT-1h-2024-05.zip",
        "BTCUSDT-1h-2024-06-01.zip",
        "BTCUSDT-1h-2024-06-02.zip",
    ]


def test_the_day_that_still_runs_has_no_file() -> None:
    assert names("2024-06-02", "2024-06-10") == ["BTCUSDT-1h-2024-06-02.zip"]


def test_the_last_day_of_a_month_is_not_worth_a_month() -> None:
    assert names("2024-03-31", "2024-04-01") == ["BTCUSDT-1h-2024-03-31.zip"]


@pytest.mark.parametrize(("start", "end"), [("2024-04-01", "2024-05-01"), ("2024-06-01", "2024-06-03")])
def test_what_is_fetched_is_what_the_exchange_has(market: LocalReplay, start: str, end: str) -> None:
    archive = BinanceArchive(market.url)
    found = list(archive.fetch_all(archive.plan(SERIES, day(start), day(end), NOW)))
    times = [time for _, candles in found if candles is not None for time in candles.open_time.tolist()]
    closes = [close for _, candles in found if candles is not None for close in candles.close.tolist()]
    expected = market.oracle(SERIES, day(start), day(end))
    assert times == expected.open_time.tolist()
    assert closes == expected.close.tolist()


def test_a_file_that_is_not_there_is_told_as_none(market: LocalReplay) -> None:
    market.fault("archive_missing", path="2024-02")
    archive = BinanceArchive(market.url)
    files = archive.plan(SERIES, day("2024-02-01"), day("2024-04-01"), NOW)
    assert [candles is None for _, candles in archive.fetch_all(files)] == [True, False]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [("archive_corrupt", {}), ("archive_checksum", {}), ("archive_checksum", {"missing": True})],
)
def test_a_damaged_file_is_left_to_rest(market: LocalReplay, verb: str, arguments: dict[str, bool]) -> None:
    market.fault(verb, **arguments)
    archive = BinanceArchive(market.url)
    files = archive.plan(SERIES, day("2024-02-01"), day("2024-03-01"), NOW)
    assert [candles for _, candles in archive.fetch_all(files)] == [None]


def test_a_damage_that_passes_is_asked_for_again(market: LocalReplay) -> None:
    market.fault("archive_corrupt", count=1)
    archive = BinanceArchive(market.url)
    files = archive.plan(SERIES, day("2024-02-01"), day("2024-03-01"), NOW)
    (_, candles) = next(archive.fetch_all(files))
    assert candles is not None
    assert len(candles) == 29 * 24


def test_a_month_that_is_not_published_yet_is_made_of_its_days(market: LocalReplay) -> None:
    market.fault("archive_missing", path="monthly")
    archive = BinanceArchive(market.url)
    files = archive.plan(SERIES, day("2024-05-01"), day("2024-06-01"), NOW)
    assert [file.is_fresh for file in files] == [True]
    (_, candles) = next(archive.fetch_all(files))
    assert candles is not None
    assert len(candles) == 31 * 24


def test_an_archive_out_of_reach_is_an_error_that_names_it() -> None:
    archive = BinanceArchive("http://127.0.0.1:9")
    with pytest.raises(ExchangeUnavailableError, match=r"127\.0\.0\.1:9"):
        list(archive.fetch_all(archive.plan(SERIES, day("2024-02-01"), day("2024-03-01"), NOW)))


@pytest.mark.parametrize("header", [b"", b"open_time,open,high,low,close,volume,close_time,a,b,c,d,e\n"])
@pytest.mark.parametrize("unit", [b"", b"000"])
def test_times_in_ms_or_us_with_a_header_or_without(header: bytes, unit: bytes) -> None:
    text = header + ROW.replace(b"1704067200000", b"1704067200000" + unit)
    candles = parse(text, ArchiveFile(SERIES, datetime(2024, 1, 1, tzinfo=UTC).date(), is_monthly=False))
    assert list(candles) == [(1704067200000, 100.0, 102.0, 99.0, 101.0, 7.5)]
    assert candles.flow is not None
    assert candles.flow.trades.tolist() == [12.0]


def test_rows_that_no_candle_can_have_are_left_out() -> None:
    off_grid = ROW.replace(b"1704067200000", b"1704067214000")
    upside_down = ROW.replace(b"102.0", b"98.0").replace(b"1704067200000", b"1704070800000")
    candles = parse(off_grid + upside_down + ROW, ArchiveFile(SERIES, datetime(2024, 1, 1, tzinfo=UTC).date(), False))
    assert candles.open_time.tolist() == [1704067200000]


@pytest.mark.parametrize("text", [b"", b"<html>busy</html>", b"1,2,3\n", b"a,b\nc,d\n"])
def test_what_is_no_table_of_candles_is_a_named_error(text: bytes) -> None:
    with pytest.raises(BadAnswerError, match=r"BTCUSDT-1h-2024-01-01\.zip"):
        parse(text, ArchiveFile(SERIES, datetime(2024, 1, 1, tzinfo=UTC).date(), is_monthly=False))
