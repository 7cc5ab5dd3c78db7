"""Names of files and the stretches of time they stand for."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from markets.series import SeriesKey, Timeframe
from markets.store import CandleStore, Source
from markets.store.layout import DAY, day_of, folder_of, month_of, months_of, span_named
from tests.factories import walk
from tests.markets.store.disks import MINUTE, folder, same


def test_paths_casefold_unique() -> None:
    folders = {str(folder_of(Path("data"), SeriesKey("BTCUSDT", each))).casefold() for each in Timeframe}
    assert len(folders) == len(Timeframe)


@pytest.mark.parametrize(
    ("time", "month", "day"),
    [
        (0, "1970-01", "1970-01-01"),
        (951_782_400_000, "2000-02", "2000-02-29"),
        (1_709_251_199_999, "2024-02", "2024-02-29"),
        (1_709_251_200_000, "2024-03", "2024-03-01"),
        (1_735_689_599_999, "2024-12", "2024-12-31"),
        (4_102_444_799_999, "2099-12", "2099-12-31"),
    ],
)
def test_a_time_is_in_its_utc_month_and_day(time: int, month: str, day: str) -> None:
    for span, name in ((month_of(time), f"{month}.parquet"), (day_of(time), f"{day}.parquet")):
        assert span.name == name
        assert span.start <= time < span.end
        assert span_named(name) == span
        assert span.month == month_of(time)
    assert day_of(time).is_day
    assert not month_of(time).is_day


def test_months_follow_each_other_without_a_hole() -> None:
    times = np.arange(0, 4_102_444_800_000, DAY, dtype=np.int64)
    months = months_of(times)
    assert len(months) == 130 * 12
    assert all(before.end == after.start for before, after in pairwise(months))
    assert months == [month_of(each.start) for each in months]


@pytest.mark.parametrize(
    "name",
    ["2024-13.parquet", "2024-02-30.parquet", "2024-1.parquet", "2024.parquet", ".2024-01.parquet",
     "2024-01.parquet.tmp", "2024-01.PARQUET", "٢٠٢٤-01.parquet", "2024-01.parquet\n", "0000-01.parquet"],
)  # fmt: skip
def test_other_names_are_not_ours(name: str) -> None:
    assert span_named(name) is None


def test_partition_count_bounded(tmp_path: Path) -> None:
    # Three years: 36 months and the newest day, whatever the size of the pieces they came in.
    series = SeriesKey.of("BTCUSDT", "15m")
    candles = walk(1, 3 * 365 * 96, timeframe=series.timeframe, start=1_672_531_200_000)
    store, most = CandleStore(tmp_path), 0
    for low in range(0, len(candles), 7_000):
        store.merge(series, candles.take(slice(low, low + 7_000)), source=Source.ARCHIVE)
        most = max(most, len(list(folder(store, series).glob("*-*-*.parquet"))))
    assert most == 1
    assert len(list(folder(store, series).glob("*.parquet"))) == 37
    assert same(store.read(series, start=None, end=None), candles)


def test_foreign_folders_are_no_series(tmp_path: Path) -> None:
    store = CandleStore(tmp_path)
    store.merge(MINUTE, walk(1, 10), source=Source.REST)
    for name in ("btcusdt/1m", "BTCUSDT/2m", "BTCUSDT/1M", "ETHUSDT/1h"):
        (tmp_path / "candles" / name).mkdir(parents=True)
    (tmp_path / "candles" / "ETHUSDT" / "4h").write_text("a file")
    assert store.series() == [MINUTE]
    assert store.clear_up().swept == 0
