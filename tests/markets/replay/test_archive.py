"""The bulk archive: what is in it when, in which unit, and how it can be wrong."""

import csv
import hashlib
import io
import os
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from markets.replay.archive import Archive, period_of
from markets.replay.clock import VirtualClock
from markets.replay.faults import Faults
from markets.replay.server import ReplayExchange
from markets.replay.synthetic import SyntheticMarket
from markets.series import SeriesKey
from tests.replaying import START, LocalReplay, replay

DAY = 86_400_000
FULL = os.environ.get("SMC_FULL") == "1"
NOW = 1_740_000_000_000  # 2025-02-19T21:20:00Z


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalReplay]:
    with replay(symbols=["BTCUSDT"], speed=0, start=NOW) as running:
        yield running


@pytest.fixture
def exchange(shared: LocalReplay) -> Iterator[LocalReplay]:
    yield shared
    shared.clear_faults()
    shared.set_clock(now=NOW)


def fetch(exchange: LocalReplay, stamp: str, timeframe: str = "1m", *, suffix: str = "") -> requests.Response:
    period = "monthly" if len(stamp) == 7 else "daily"
    name = f"BTCUSDT-{timeframe}-{stamp}.zip"
    return requests.get(f"{exchange.url}/data/spot/{period}/klines/BTCUSDT/{timeframe}/{name}{suffix}", timeout=20)


def unzipped(answer: requests.Response) -> list[list[str]]:
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        (name,) = archive.namelist()
        assert name.endswith(".csv")
        return list(csv.reader(io.StringIO(archive.read(name).decode())))


@pytest.mark.parametrize(("stamp", "scale"), [("2024-12-31", 1), ("2025-01-01", 1000), ("2025-01", 1000)])
def test_a_file_holds_the_candles_of_its_time_in_the_unit_of_its_year(
    exchange: LocalReplay, stamp: str, scale: int
) -> None:
    rows = unzipped(fetch(exchange, stamp))
    days = 31 if len(stamp) == 7 else 1
    first = (
        int(datetime.fromisoformat(stamp + ("-01" if len(stamp) == 7 else "")).replace(tzinfo=UTC).timestamp()) * 1000
    )
    assert (int(rows[0][0]), len(rows), len(rows[0])) == (first * scale, days * 1440, 12)
    assert int(rows[0][6]) == (first + 60_000) * scale - 1
    oracle = exchange.oracle(SeriesKey.of("BTCUSDT", "1m"), first, first + days * DAY)
    assert [[int(row[0]) // scale, *map(float, row[1:6])] for row in rows[:300]] == [list(each) for each in oracle][
        :300
    ]
    assert rows[5][1].count(".") == 1
    assert len(rows[5][1].partition(".")[2]) == 8


def test_a_file_says_the_same_as_rest(exchange: LocalReplay) -> None:
    rows = unzipped(fetch(exchange, "2025-02-10", "15m"))
    asked: dict[str, Any] = {"symbol": "BTCUSDT", "interval": "15m", "startTime": int(rows[0][0]), "limit": 96}
    told = requests.get(f"{exchange.url}/api/v3/klines", params=asked, timeout=10).json()
    assert [[str(cell) for cell in row[1:6] + row[7:]] for row in told] == [row[1:6] + row[7:] for row in rows]


def test_the_checksum_is_that_of_the_file(exchange: LocalReplay) -> None:
    data = fetch(exchange, "2025-01", "1h").content
    assert fetch(exchange, "2025-01", "1h", suffix=".CHECKSUM").text == (
        f"{hashlib.sha256(data).hexdigest()}  BTCUSDT-1h-2025-01.zip\n"
    )


@pytest.mark.parametrize(
    ("now", "stamp", "status"),
    [
        ("2025-02-19T21:20:00", "2025-02-18", 200),
        ("2025-02-19T21:20:00", "2025-02-19", 404),
        ("2025-02-19T08:00:00", "2025-02-18", 404),
        ("2025-02-19T21:20:00", "2025-02", 404),
        ("2025-03-02T21:20:00", "2025-02", 404),
        ("2025-03-03T21:20:00", "2025-02", 200),
        ("2025-02-19T21:20:00", "2016-12-31", 404),
        ("2025-02-19T21:20:00", "2025-02-30", 404),
    ],
)
def test_days_appear_the_next_morning_and_months_on_the_first_monday(
    exchange: LocalReplay, now: str, stamp: str, status: int
) -> None:
    exchange.set_clock(now=now)
    assert fetch(exchange, stamp, "1h").status_code == status


def test_what_is_not_traded_has_no_files(exchange: LocalReplay) -> None:
    for path in (
        "daily/klines/NOSUCH/1h/NOSUCH-1h-2025-02-10.zip",
        "daily/klines/BTCUSDT/1h/BTCUSDT-1m-2025-02-10.zip",
        "daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-02.zip",
        "weekly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-02-10.zip",
    ):
        answer = requests.get(f"{exchange.url}/data/spot/{path}", timeout=10)
        assert answer.status_code == 404


def test_a_year_of_minutes_is_made_within_seconds_and_kept() -> None:
    book = ReplayExchange(SyntheticMarket(["ETHUSDT"]), VirtualClock(START)).book
    archive = Archive(book, Faults(book.clock))
    months = range(1, 13 if FULL else 4)
    began = time.thread_time()
    for month in months:
        name = f"ETHUSDT-1m-2023-{month:02}.zip"
        period = period_of("monthly", "ETHUSDT", "1m", name)
        assert period is not None
        made = archive.file(period, name)
        assert len(made) > 2_000_000
        assert archive.file(period, name) is made
    # Under 2 s a year where nothing else runs; the bound leaves room for a busy machine.
    if FULL:
        assert time.thread_time() - began < 0.5 * len(months)


def test_an_archive_can_be_wrong_in_every_way_it_is(exchange: LocalReplay) -> None:
    sound = fetch(exchange, "2025-01", "1h")
    fault = exchange.fault("archive_missing", path="2025-01")
    assert fetch(exchange, "2025-01", "1h").status_code == 404
    assert fetch(exchange, "2024-12", "1h").status_code == 200
    exchange.clear_faults(fault["id"])
    fault = exchange.fault("archive_missing", symbol="BTCUSDT", timeframe="1h")
    assert fetch(exchange, "2025-01", "1h").status_code == 404
    assert fetch(exchange, "2025-01", "4h").status_code == 200
    exchange.clear_faults(fault["id"])
    exchange.fault("archive_corrupt", count=1)
    corrupt = fetch(exchange, "2025-01", "1h").content
    assert corrupt != sound.content
    assert len(corrupt) == len(sound.content)
    assert hashlib.sha256(sound.content).hexdigest() in fetch(exchange, "2025-01", "1h", suffix=".CHECKSUM").text
    exchange.fault("archive_checksum", count=1)
    lie = fetch(exchange, "2025-01", "1h", suffix=".CHECKSUM").text
    assert hashlib.sha256(sound.content).hexdigest() not in lie
    fault = exchange.fault("archive_checksum", missing=True)
    assert fetch(exchange, "2025-01", "1h", suffix=".CHECKSUM").status_code == 404
    exchange.clear_faults(fault["id"])
    exchange.fault("archive_short", days=7)
    exchange.fault("archive_unit", unit="ms")
    exchange.fault("archive_header")
    rows = unzipped(fetch(exchange, "2025-01", "1h"))
    assert rows[0][0] == "open_time"
    assert len(rows) == 7 * 24 + 1
    assert len(rows[1][0]) == 13
    exchange.clear_faults()
    assert fetch(exchange, "2025-01", "1h").content == sound.content


def test_a_hole_is_a_hole_in_the_archive_too(exchange: LocalReplay) -> None:
    exchange.fault("hole", at="2025-02-10T05:00:00", until="2025-02-10T07:00:00")
    assert len(unzipped(fetch(exchange, "2025-02-10", "1h"))) == 22
