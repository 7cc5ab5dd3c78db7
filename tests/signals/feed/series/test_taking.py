"""The work for one series, step by step: its candles stored, judged, entered and told, each once."""

import time
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from django.conf import settings
from django.db import OperationalError

from markets.candles import Candle, Candles
from markets.errors import ExchangeUnavailableError, FencedError
from markets.exchanges import CandleUpdate
from markets.models import Revision
from markets.series import SeriesKey
from markets.services.recording import record
from markets.store import Source
from markets.store.files import decode
from markets.store.layout import folder_of
from signals.feed.fence import Fence
from signals.log.told import told_mark
from signals.selectors.logs import signal_log
from tests.signals.feed.series.rig import HISTORY, LENGTH, Rig

pytestmark = pytest.mark.django_db


def test_history_is_fetched_and_judged_and_not_told_as_new(fence: Fence) -> None:
    rig = Rig(fence)
    recovered = rig.work.recover()
    assert rig.stored == rig.exchange.rows[:HISTORY]
    assert recovered.through == rig.exchange.rows[HISTORY - 1].open_time
    assert rig.ledger == []
    assert rig.said.of("signal") == []
    assert {message["ch"] for message in rig.said.of("reset")} == {f"k:{rig.series}"}


def test_a_live_candle_is_stored_judged_entered_and_told(rig: Rig) -> None:
    for index in range(HISTORY, LENGTH):
        taken = rig.live(index)
        assert (taken.count, taken.gap) == (1, None)
    assert rig.stored == rig.exchange.rows
    assert rig.told() == rig.batch()
    assert len(rig.ledger) > 20
    assert all(not row.is_late and row.latency_ms is not None and row.latency_ms < 5_000 for row in rig.ledger)
    told = rig.said.of("signal")
    assert len(told) == len({message["id"] for message in told}) == len(rig.ledger)
    assert all(message["late"] is False and message["published_at"] and message["html"] for message in told)
    candles = rig.said.of("kline")
    assert [message["open"] for message in candles] == [row.open for row in rig.exchange.rows[HISTORY:]]
    assert {each["id"] for message in candles for each in message["signals"]} >= {message["id"] for message in told}


def test_many_candles_at_once_give_what_one_by_one_gives(rig: Rig) -> None:
    taken = rig.live(*range(HISTORY, LENGTH))
    assert taken.count == LENGTH - HISTORY
    assert rig.told() == rig.batch()


def test_late_signal_flag(rig: Rig) -> None:
    """What is found while catching up is late: entered and told as such, without a latency."""
    rig.exchange.move_to(LENGTH)
    rig.work.recover()
    assert rig.told() == rig.batch()
    assert all(row.is_late and row.latency_ms is None for row in rig.ledger)
    told = rig.said.of("signal")
    assert len(told) == len(rig.ledger) > 20
    assert all(message["late"] is True for message in told)


def test_a_live_candle_that_waited_long_is_late(rig: Rig) -> None:
    rig.exchange.move_to(LENGTH)
    old = [
        replace(rig.exchange.update(index), received_at=time.monotonic() - 60) for index in range(HISTORY, LENGTH - 1)
    ]
    assert rig.work.take([*old, rig.exchange.update(LENGTH - 1)]).count == LENGTH - HISTORY
    newest = rig.exchange.rows[LENGTH - 1].open_time
    assert all(row.is_late == (row.confirm_time < newest) for row in rig.ledger)


def test_restart_no_realert(rig: Rig) -> None:
    """Ten restarts: nothing is entered or told twice, nothing is missing."""
    at = HISTORY
    for _ in range(10):
        rig.live(*range(at, at + 5))
        at += 8  # three candles close while nobody listens
        rig.exchange.move_to(at)
        rig.work = rig.new_work()
        rig.work.recover()
    told = [message["id"] for message in rig.said.of("signal")]
    assert len(told) == len(set(told)) == len(rig.ledger)
    assert rig.told() == rig.batch()


def test_what_no_browser_waits_for_is_done_later_and_a_restart_before_that_tells_nothing_twice(rig: Rig) -> None:
    rig.work.tidy()
    before = told_mark(settings.DATA_ROOT, rig.series)
    for index in range(HISTORY, HISTORY + 40):
        rig.live(index)
    told = [message["id"] for message in rig.said.of("signal")]
    assert told
    assert not rig.work.is_tidy
    assert told_mark(settings.DATA_ROOT, rig.series) == before
    assert len(filed(rig.series)) < len(rig.stored)
    killed, rig.work = rig.work, rig.new_work()
    rig.work.recover()
    assert [message["id"] for message in rig.said.of("signal")] == told
    for work in (rig.work, killed):
        work.tidy()
        assert work.is_tidy
        assert filed(rig.series) == rig.stored
        after = told_mark(settings.DATA_ROOT, rig.series)
        assert after is not None
        assert after.through >= max(row.confirm_time for row in rig.ledger)


def test_a_series_that_is_closed_leaves_all_in_parquet(rig: Rig) -> None:
    for index in range(HISTORY, LENGTH):
        rig.live(index)
    rig.work.close()
    assert filed(rig.series) == rig.stored
    log = signal_log(settings.DATA_ROOT).view(rig.series)
    assert log is not None
    logged = [pq.read_metadata(file).num_rows for file in log.folder.glob("signals-*.parquet")]
    assert sum(logged) >= len(rig.ledger)


def filed(series: SeriesKey) -> list[Candle]:
    """Return the candles that stand in Parquet files."""
    files = folder_of(settings.DATA_ROOT, series).glob("*.parquet")
    # By name the file of a day comes before that of its month.
    return sorted(candle for file in files for candle in decode(file.read_bytes(), series).candles)


def test_candles_told_twice_change_nothing(rig: Rig) -> None:
    for _ in range(3):
        rig.work.take([rig.exchange.update(HISTORY - 1), rig.exchange.update(HISTORY)])
    assert rig.stored == rig.exchange.rows[: HISTORY + 1]
    assert not Revision.objects.exists()


def test_what_is_entered_is_told_though_the_database_fails_at_once_after_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signals.feed.telling.tick_size", _fail)
    rig.live(*range(HISTORY, HISTORY + 60))
    assert len(rig.said.of("signal")) == len(rig.ledger) > 0


def _fail(_: str) -> float:
    raise OperationalError("the database is away")


def test_without_the_exchange_what_is_stored_is_judged_all_the_same(fence: Fence) -> None:
    rig = Rig(fence)
    record(rig.series, Candles.of(rig.exchange.rows[:200]), source=Source.FILE)
    rig.exchange.error = ExchangeUnavailableError("away")
    with pytest.raises(ExchangeUnavailableError):
        rig.work.recover()
    assert rig.work.through == rig.exchange.rows[199].open_time


def test_a_fenced_leader_writes_and_tells_nothing(rig: Rig) -> None:
    Fence(rig.fence._path).take()
    updates: list[CandleUpdate] = [rig.exchange.update(index) for index in range(HISTORY, LENGTH)]
    with pytest.raises(FencedError):
        rig.work.take(updates)
    with pytest.raises(FencedError):
        rig.work.recover()
    assert rig.stored == rig.exchange.rows[:HISTORY]
    assert rig.ledger == []
    assert rig.said.messages == []
