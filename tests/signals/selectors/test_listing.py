"""Lists of signals: what was known at any moment, filtered, page by page."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from markets.candles import Candles
from markets.errors import InvalidInputError, NotFoundError
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series, note_state
from markets.store import Source
from signals import selectors
from signals.engine import Detector, scale_params
from signals.engine.table import UNSET, detect_columns
from signals.log import SignalRow
from signals.log.generations import current_folder
from signals.selectors import SignalFilter, logs
from signals.services import catch_up_series
from tests.factories import nasty_walk, real_candles, walk

# Who brings a log up asks whether the stream waits for a candle.
pytestmark = pytest.mark.django_db

MINUTES = SeriesKey.of("BTCUSDT", "1m")


def store(candles: Candles, *, symbol: str = "BTCUSDT", timeframe: str = "1m") -> None:
    candle_store().merge(SeriesKey.of(symbol, timeframe), candles, source=Source.FILE)


def all_pages(filter_: SignalFilter, *, limit: int, newest_first: bool = True) -> list[SignalRow]:
    rows, cursor = [], None
    while True:
        page = selectors.signals(filter_, limit=limit, cursor=cursor, newest_first=newest_first)
        rows += page.rows
        cursor = page.next_cursor
        if cursor is None:
            return rows
        assert len(page.rows) == limit


def detected(candles: Candles, scale: str) -> list[tuple[object, ...]]:
    """Return what ``detect`` writes, as the rows of a list."""
    columns = detect_columns(Detector(scale_params(scale)).run(candles).table)
    names = [*_FIELDS, "mitigated_time", "filled_time", "invalidated_time"]
    return list(zip(*(_plain(columns[name]) for name in names), strict=True))


_FIELDS = (
    "kind", "direction", "event_time", "confirm_time", "level", "top", "bottom", "ref_time", "strength", "range_pos",
    "tag", "status",
)  # fmt: skip


def _plain(column: np.ndarray) -> list[object]:
    return [None if value == UNSET and column.dtype == np.int64 else _number(value) for value in column.tolist()]


def _number(value: object) -> object:
    return None if isinstance(value, float) and np.isnan(value) else value


def as_detected(row: SignalRow) -> tuple[object, ...]:
    return (*(getattr(row, name) for name in _FIELDS), row.mitigated_time, row.filled_time, row.invalidated_time)


@pytest.mark.parametrize("scale", ["internal", "swing"])
def test_a_list_tells_what_detect_writes(data_root: Path, scale: str) -> None:
    candles = real_candles("EURUSD-15m-2022-10_2023-10").first(6_000)
    store(candles, timeframe="15m")
    wanted = SignalFilter(symbol="BTCUSDT", timeframe=Timeframe.M15, scale=scale)
    rows = all_pages(wanted, limit=777, newest_first=False)
    assert [as_detected(row) for row in rows] == detected(candles, scale)
    assert all(row.scale == scale and row.confirmed_at == row.confirm_time + 900_000 for row in rows)


def test_a_list_as_of_any_moment_tells_what_was_known_then(data_root: Path) -> None:
    candles = nasty_walk(4, 700)
    store(candles)
    for n in range(20, 701, 17):
        moment = int(candles.open_time[n - 1]) + 60_000
        for as_of in (moment, moment + 59_999 if n == 700 else moment):
            known = SignalFilter(symbol="BTCUSDT", timeframe=Timeframe.M1, scale="internal", as_of=as_of)
            rows = all_pages(known, limit=400, newest_first=False)
            assert [as_detected(row) for row in rows] == detected(candles.first(n), "internal")
        just_before = selectors.signals(replace(known, as_of=moment - 1), limit=1_000).rows
        assert all(row.confirm_time < candles.open_time[n - 1] for row in just_before)
        marked = [(row.mitigated_time, row.filled_time, row.invalidated_time) for row in just_before]
        assert all(time is None or time < candles.open_time[n - 1] for times in marked for time in times)


def test_a_moment_of_an_earlier_month_is_told_before_and_after_the_present_is(data_root: Path) -> None:
    candles = walk(8, 3_000, start=1_701_388_800_000 - 1_500 * 60_000)
    store(candles)
    for n in (900, 1_499, 1_501, 2_200, 3_000, 1_100):
        known = SignalFilter(scale="internal", as_of=int(candles.open_time[n - 1]) + 60_000)
        rows = all_pages(known, limit=1_000, newest_first=False)
        assert [as_detected(row) for row in rows] == detected(candles.first(n), "internal")


def test_what_was_open_at_a_moment_is_told_as_it_stands_now(data_root: Path) -> None:
    candles = walk(8, 3_000, start=1_701_388_800_000 - 1_500 * 60_000)
    store(candles)
    now = all_pages(SignalFilter(), limit=1_000)
    statuses = set()
    for n in (2, 900, 1_501, 2_200):
        moment = int(candles.open_time[n - 1]) + 60_000
        for asked in (moment, moment + 59_999):
            known = all_pages(SignalFilter(as_of=asked), limit=1_000)
            then = {row.id: row for row in known if row.filled_time is None and row.invalidated_time is None}
            wanted = SignalFilter(open_at=asked)
            assert all_pages(wanted, limit=1_000) == [row for row in now if row.id in then]
            assert selectors.total(wanted) == len(then)
            # With a moment of knowledge, nothing that came later is told, nor does it choose.
            for open_at in (asked, asked + 600 * 60_000):
                assert all_pages(SignalFilter(open_at=open_at, as_of=asked), limit=1_000) == list(then.values())
            statuses |= {row.status for row in now if row.id in then}
    assert statuses >= {"active", "mitigated", "invalidated"}


def test_a_total_of_what_was_open_follows_marks_made_after_the_month(data_root: Path) -> None:
    candles = walk(8, 3_000, start=1_701_388_800_000 - 1_500 * 60_000)
    wanted = SignalFilter(open_at=int(candles.open_time[2_900]))
    for count in (1_700, 3_000):
        store(candles.first(count))
        catch_up_series(MINUTES)
        assert selectors.total(wanted) == len(all_pages(wanted, limit=1_000))


def fits(row: SignalRow, wanted: SignalFilter) -> bool:
    return (
        (not wanted.kinds or row.kind in wanted.kinds)
        and wanted.direction in (None, row.direction)
        and wanted.status in (None, row.status)
        and wanted.scale in (None, row.scale)
        and (wanted.start is None or row.confirm_time >= wanted.start)
        and (wanted.end is None or row.confirm_time < wanted.end)
        and (wanted.min_strength is None or row.strength >= wanted.min_strength)
    )


def test_every_filter_keeps_exactly_what_fits(data_root: Path) -> None:
    candles = walk(8, 3_000, start=1_701_388_800_000 - 1_500 * 60_000)
    store(candles)
    rows = all_pages(SignalFilter(), limit=1_000)
    middle = int(candles.open_time[1_600])
    for wanted in (
        SignalFilter(kinds=frozenset({"BOS", "CHOCH"})),
        SignalFilter(direction=-1),
        *(SignalFilter(status=status) for status in ("active", "mitigated", "filled", "invalidated")),
        SignalFilter(scale="swing"),
        SignalFilter(start=middle),
        SignalFilter(end=middle),
        SignalFilter(start=middle, end=middle + 1_200_000),
        SignalFilter(min_strength=60.0),
        SignalFilter(kinds=frozenset({"FVG"}), direction=1, scale="internal", min_strength=20.0, start=middle),
    ):
        kept = [row for row in rows if fits(row, wanted)]
        assert kept
        assert all_pages(wanted, limit=13 if len(kept) < 500 else 990) == kept


def test_both_directions_tell_the_same_signals(data_root: Path) -> None:
    store(walk(8, 800))
    store(walk(9, 800), symbol="ETHUSDT")
    store(walk(9, 200, timeframe=Timeframe.M5), symbol="ETHUSDT", timeframe="5m")
    newest_first = all_pages(SignalFilter(), limit=37)
    assert all_pages(SignalFilter(), limit=41, newest_first=False) == newest_first[::-1]
    moments = [row.confirmed_at for row in newest_first]
    assert moments == sorted(moments, reverse=True)
    assert {(row.symbol, row.timeframe.value) for row in newest_first} == {
        ("BTCUSDT", "1m"),
        ("ETHUSDT", "1m"),
        ("ETHUSDT", "5m"),
    }
    assert len({row.id for row in newest_first}) == len(newest_first)


def test_a_cursor_stays_where_it_is_while_candles_close(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PATIENCE_SECONDS", 0.0)
    candles = walk(8, 900)
    store(candles.first(600))
    before = all_pages(SignalFilter(), limit=1_000)
    page = selectors.signals(SignalFilter(), limit=50)
    store(candles)
    later = all_pages(SignalFilter(), limit=1_000)
    assert later != before
    rows = list(page.rows)
    while page.next_cursor is not None:
        page = selectors.signals(SignalFilter(), limit=50, cursor=page.next_cursor)
        rows += page.rows
    assert [row.id for row in rows] == [row.id for row in before]


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "MTIz", "MS5CVENVU0RULjEuMC4x.", "é", "A" * 200])
def test_a_cursor_that_is_none_is_refused_by_name(data_root: Path, cursor: str) -> None:
    store(walk(8, 100))
    with pytest.raises(InvalidInputError) as refused:
        selectors.signals(SignalFilter(), cursor=cursor)
    assert refused.value.field == "cursor"


def test_a_signal_is_found_by_its_id(data_root: Path) -> None:
    store(walk(8, 1_500, start=1_701_388_800_000 - 700 * 60_000))
    for row in selectors.signals(SignalFilter(), limit=1_000).rows[::7]:
        assert selectors.signal(row.id) == row
        assert row.id.startswith(f"BTCUSDT.1m.{row.scale}.{row.kind}.{'up' if row.direction == 1 else 'down'}.")


@pytest.mark.parametrize(
    "id_",
    [
        "", "x", "BTCUSDT.1m.internal.FVG.up.1.2", "BTCUSDT.1m.internal.FVG.up.1", "BTCUSDT.1m.inner.FVG.up.1.2",
        "BTCUSDT.2m.internal.FVG.up.1.2", "btc.1m.internal.FVG.up.1.2", "BTCUSDT.1m.internal.FVG.left.1.2",
        "../../etc.1m.internal.FVG.up.1.2", "NOPE.1m.internal.FVG.up.1.2", "BTCUSDT.1m.internal.NOPE.up.1.2",
        "BTCUSDT.1m.internal.FVG.up.99999999999999999999999.2",
    ],
)  # fmt: skip
def test_an_id_of_no_signal_is_not_found(data_root: Path, id_: str) -> None:
    store(walk(8, 100))
    with pytest.raises(NotFoundError):
        selectors.signal(id_)


def test_candles_imported_while_nobody_looked_have_their_signals_at_once(data_root: Path) -> None:
    candles = walk(8, 400)
    store(candles.first(200))
    assert selectors.signals(SignalFilter(), limit=1).rows[0].confirm_time <= candles.open_time[199]
    # The log is quiet, so nobody else will judge the new candles: the next question does.
    folder = current_folder(data_root, MINUTES)
    assert folder is not None
    journal = folder / "journal.log"
    os.utime(journal, (time.time() - 60, time.time() - 60))
    store(candles)
    assert [as_detected(row) for row in all_pages(SignalFilter(scale="internal"), limit=900, newest_first=False)] == (
        detected(candles, "internal")
    )


def test_who_looks_judges_nothing_behind_a_candle_that_may_come_yet(data_root: Path) -> None:
    """F51: signals found across the hole would be others when it is filled."""
    candles = walk(8, 400)
    ensure_series(MINUTES)
    store(candles.first(200))
    before = all_pages(SignalFilter(), limit=900)
    note_state(MINUTES, error="", held_from=int(candles.open_time[200]))
    folder = current_folder(data_root, MINUTES)
    assert folder is not None
    os.utime(folder / "journal.log", (time.time() - 60, time.time() - 60))
    store(candles.take(slice(201, None)))
    assert all_pages(SignalFilter(), limit=900) == before
    note_state(MINUTES, error="", held_from=None)
    store(candles)
    assert [as_detected(row) for row in all_pages(SignalFilter(scale="internal"), limit=900, newest_first=False)] == (
        detected(candles, "internal")
    )


def test_a_damaged_file_of_the_log_is_mended_on_the_way(data_root: Path) -> None:
    store(walk(8, 400))
    rows = all_pages(SignalFilter(), limit=900)
    folder = current_folder(data_root, MINUTES)
    assert folder is not None
    for file in folder.glob("signals-*.parquet"):
        file.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    selectors.signal_log.cache_clear()
    assert all_pages(SignalFilter(), limit=900) == rows


def test_nothing_stored_is_an_empty_page(data_root: Path) -> None:
    assert selectors.signals(SignalFilter()).rows == []
    assert selectors.signals(SignalFilter(symbol="BTCUSDT", timeframe=Timeframe.H1)).next_cursor is None
    assert selectors.summary(SignalFilter())["total"] == 0


def test_a_summary_counts_what_the_list_tells(data_root: Path) -> None:
    store(walk(8, 1_000))
    rows = all_pages(SignalFilter(scale="internal"), limit=1_000)
    told = selectors.summary(SignalFilter(symbol="BTCUSDT", timeframe=Timeframe.M1, scale="internal"))
    assert told["total"] == len(rows)
    assert told["candles"] == 1_000
    for kind, count in told["by_kind"].items():
        of_kind = [row for row in rows if row.kind == kind]
        assert count == len(of_kind)
        assert told["per_1000_candles"][kind] == count
        assert (kind in told["newest"]) == bool(of_kind)
        assert not of_kind or told["newest"][kind]["id"] == of_kind[0].id
    for status, count in told["by_status"].items():
        assert count == sum(row.status == status for row in rows)
    assert told["by_direction"] == {
        "1": sum(row.direction == 1 for row in rows),
        "-1": sum(row.direction == -1 for row in rows),
    }


def test_a_total_counts_what_the_list_tells_also_after_more_candles(data_root: Path) -> None:
    candles = walk(8, 2_000, timeframe=Timeframe.H1)
    middle = int(candles.open_time[700])
    filters = [
        SignalFilter(), SignalFilter(kinds=frozenset({"FVG"})), SignalFilter(direction=1, min_strength=50.0),
        SignalFilter(status="filled"), SignalFilter(start=middle), SignalFilter(end=middle), SignalFilter(as_of=middle),
    ]  # fmt: skip
    for count in (1_500, 2_000):
        store(candles.first(count), timeframe="1h")
        catch_up_series(SeriesKey("BTCUSDT", Timeframe.H1))
        for filter_ in filters:
            expected = len(all_pages(filter_, limit=1_000))
            assert expected
            assert selectors.total(filter_) == selectors.total(filter_) == expected


def test_a_warm_page_of_a_thousand_rows_over_a_year_is_quick(data_root: Path) -> None:
    store(real_candles("EURUSD-15m-2022-10_2023-10"), timeframe="15m")
    wanted = SignalFilter(symbol="BTCUSDT", timeframe=Timeframe.M15)
    all_pages(wanted, limit=1_000)
    taken = []
    for _ in range(10):
        began = time.process_time()
        assert len(selectors.signals(wanted, limit=1_000).rows) == 1_000
        taken.append(time.process_time() - began)
    assert min(taken) < 0.03
