"""The work for one series, step by step: its candles stored, judged, entered and told, each once."""

import time
from dataclasses import replace
from itertools import count
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from markets.candles import Candle, Candles
from markets.errors import ExchangeUnavailableError, FencedError, StoreError
from markets.exchanges import CandleUpdate
from markets.models import ExchangeGap, Revision
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services.backfilling import PROOF_AFTER
from markets.services.pairs import ensure_series
from markets.services.recording import record
from markets.store import Source
from markets.store.files import decode
from markets.store.layout import folder_of
from signals.feed.fence import Fence
from signals.feed.lead import Lead
from signals.feed.series import SeriesWork
from signals.feed.telling import Teller
from signals.log.told import told_mark
from signals.models import PublishedSignal
from signals.selectors.logs import signal_log
from signals.services import Tracker
from tests.factories import walk
from tests.signals.feed.batches import Found, batch, entered
from tests.signals.feed.exchanges import ScriptedExchange

pytestmark = pytest.mark.django_db

HISTORY, LENGTH = 300, 420
_names = count()


class Ears:
    """Stands for the sender and keeps what was said."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send(self, channel: str, text: str, *, is_forming: bool = False) -> None:
        self.messages.append(orjson.loads("{" + text))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["t"] == kind]


class Rig:
    """A series with its exchange, its work and who listens."""

    def __init__(self, fence: Fence, *, known: int = HISTORY) -> None:
        self.series = SeriesKey.parse(f"RIG{next(_names)}X{time.time_ns() % 10**9}:1m")
        start = int(time.time() * 1000) // 60_000 * 60_000 - LENGTH * 60_000
        truth = walk(7, LENGTH, start=start)
        self.exchange = ScriptedExchange(self.series, truth, known=known)
        self.ears = Ears()
        self.fence = fence
        self.work = self.new_work()
        self.row = ensure_series(self.series, is_active=True)

    def new_work(self) -> SeriesWork:
        """Return the work as a process that was started again has it."""
        lead = Lead(exchange=self.exchange, fence=self.fence, check=self.fence.check)
        return SeriesWork(self.series, lead, Teller(self.series, self.ears))  # type: ignore[arg-type]

    def live(self, *indices: int) -> Any:
        """Let these candles close on the stream."""
        self.exchange.move_to(max(indices) + 1)
        return self.work.take([self.exchange.update(index) for index in indices])

    def revise(self, start: int, end: int) -> None:
        """Let the exchange have other values for these candles, and REST bring them."""
        changed = [
            row._replace(open=row.open + 3, high=row.high + 3, low=row.low + 3, close=row.close + 3)
            for row in self.exchange.rows[start:end]
        ]
        self.exchange.rows[start:end] = changed
        record(self.series, Candles.of(changed), source=Source.REST)

    @property
    def ledger(self) -> list[PublishedSignal]:
        return list(PublishedSignal.objects.filter(symbol=self.series.symbol).order_by("confirm_time", "id"))

    @property
    def stored(self) -> list[Candle]:
        return list(candle_store().read(self.series, start=None, end=None))

    def batch(self, *, after: int = HISTORY - 1) -> Found:
        """Return what a batch over what is stored finds after candle ``after``."""
        candles = candle_store().read(self.series, start=None, end=None)
        return batch(candles, after=self.exchange.rows[after].open_time)

    def told(self) -> Found:
        return entered(self.ledger)


@pytest.fixture
def fence(tmp_path_factory: pytest.TempPathFactory) -> Fence:
    fence = Fence(tmp_path_factory.mktemp("fence") / "epoch")
    fence.take()
    return fence


@pytest.fixture
def rig(fence: Fence) -> Rig:
    rig = Rig(fence)
    rig.work.recover()
    rig.ears.messages.clear()
    return rig


def test_history_is_fetched_and_judged_and_not_told_as_new(fence: Fence) -> None:
    rig = Rig(fence)
    recovered = rig.work.recover()
    assert rig.stored == rig.exchange.rows[:HISTORY]
    assert recovered.through == rig.exchange.rows[HISTORY - 1].open_time
    assert rig.ledger == []
    assert rig.ears.of("signal") == []
    assert {message["ch"] for message in rig.ears.of("reset")} == {f"k:{rig.series}"}


def test_a_live_candle_is_stored_judged_entered_and_told(rig: Rig) -> None:
    for index in range(HISTORY, LENGTH):
        taken = rig.live(index)
        assert (taken.count, taken.gap) == (1, None)
    assert rig.stored == rig.exchange.rows
    assert rig.told() == rig.batch()
    assert len(rig.ledger) > 20
    assert all(not row.is_late and row.latency_ms is not None and row.latency_ms < 5_000 for row in rig.ledger)
    told = rig.ears.of("signal")
    assert len(told) == len({message["id"] for message in told}) == len(rig.ledger)
    assert all(message["late"] is False and message["published_at"] and message["html"] for message in told)
    candles = rig.ears.of("kline")
    assert [message["open"] for message in candles] == [row.open for row in rig.exchange.rows[HISTORY:]]
    assert {each["id"] for message in candles for each in message["signals"]} >= {message["id"] for message in told}


def test_many_candles_at_once_give_what_one_by_one_gives(rig: Rig) -> None:
    taken = rig.live(*range(HISTORY, LENGTH))
    assert taken.count == LENGTH - HISTORY
    assert rig.told() == rig.batch()


def test_engine_holds_on_gap(rig: Rig) -> None:
    """Candles behind a hole are neither stored nor judged until REST has filled it; then they are, in order."""
    gapped = rig.live(HISTORY, HISTORY + 3, HISTORY + 4)
    assert gapped.count == 1
    assert gapped.gap == (rig.exchange.rows[HISTORY + 1].open_time, rig.exchange.rows[HISTORY + 3].open_time)
    assert rig.stored == rig.exchange.rows[: HISTORY + 1]
    assert rig.work.recover().gap is None
    again = rig.work.take(gapped.left)
    assert (again.count, again.gap) == (0, None)
    assert rig.stored == rig.exchange.rows[: HISTORY + 5]
    assert rig.told() == rig.batch()


def test_what_was_held_behind_a_hole_is_taken_when_rest_has_only_the_hole(rig: Rig) -> None:
    gapped = rig.live(HISTORY, HISTORY + 3)
    rig.exchange.move_to(HISTORY + 3)
    rig.work.recover()
    assert rig.work.take(gapped.left).count == 1
    assert rig.stored == rig.exchange.rows[: HISTORY + 4]


def test_a_hole_of_the_exchange_holds_signals_until_it_is_proven(rig: Rig) -> None:
    hole = [rig.exchange.rows[HISTORY + 1].open_time, rig.exchange.rows[HISTORY + 2].open_time]
    rig.exchange.missing = set(hole)
    gapped = rig.live(HISTORY, HISTORY + 3)
    recovered = rig.work.recover()
    assert recovered.gap == (hole[0], hole[1] + 60_000)
    assert rig.work.through == rig.exchange.rows[HISTORY].open_time
    ExchangeGap.objects.update(first_read_at=timezone.now() - 2 * PROOF_AFTER)
    recovered = rig.work.recover()
    assert recovered.gap is None
    assert recovered.through == rig.exchange.rows[HISTORY + 3].open_time
    assert rig.work.take(gapped.left).gap is None
    assert rig.live(HISTORY + 4).count == 1


def test_late_signal_flag(rig: Rig) -> None:
    """What is found while catching up is late: entered and told as such, without a latency."""
    rig.exchange.move_to(LENGTH)
    rig.work.recover()
    assert rig.told() == rig.batch()
    assert all(row.is_late and row.latency_ms is None for row in rig.ledger)
    told = rig.ears.of("signal")
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
    told = [message["id"] for message in rig.ears.of("signal")]
    assert len(told) == len(set(told)) == len(rig.ledger)
    assert rig.told() == rig.batch()


def test_what_no_browser_waits_for_is_done_later_and_a_restart_before_that_tells_nothing_twice(rig: Rig) -> None:
    rig.work.tidy()
    before = told_mark(settings.DATA_ROOT, rig.series)
    for index in range(HISTORY, HISTORY + 40):
        rig.live(index)
    told = [message["id"] for message in rig.ears.of("signal")]
    assert told
    assert not rig.work.is_tidy
    assert told_mark(settings.DATA_ROOT, rig.series) == before
    assert len(filed(rig.series)) < len(rig.stored)
    killed, rig.work = rig.work, rig.new_work()
    rig.work.recover()
    assert [message["id"] for message in rig.ears.of("signal")] == told
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


def test_a_candle_the_stream_tells_in_two_ways_is_tidy_by_rest(rig: Rig) -> None:
    """The first stays until the exchange's REST has spoken; what it says is a revision."""
    final = rig.exchange.rows[HISTORY]
    early = final._replace(close=final.open, high=max(final.open, final.high))
    rig.work.take([rig.exchange.update(HISTORY, early)])
    assert rig.stored[-1] == early
    taken = rig.work.take([rig.exchange.update(HISTORY, final)])
    assert taken.is_doubtful
    rig.exchange.move_to(HISTORY + 1)
    rig.work.recover()
    assert rig.stored[-1] == final
    assert Revision.objects.filter(series=rig.row).count() == 1


def test_an_old_candle_told_again_by_the_stream_asks_nobody(rig: Rig) -> None:
    old = rig.exchange.rows[10]
    assert not rig.work.take([rig.exchange.update(10, old._replace(close=old.open))]).is_doubtful


def test_a_revised_candle_rebuilds_the_log_and_marks_what_was_told(rig: Rig) -> None:
    rig.live(*range(HISTORY, HISTORY + 60))
    before = {row.pk for row in rig.ledger}
    rig.revise(HISTORY + 20, HISTORY + 23)
    rig.ears.messages.clear()
    rig.work.refresh()
    revised = [row for row in rig.ledger if row.revised_at is not None]
    assert revised
    assert {row.pk for row in rig.ledger} >= before
    assert entered(row for row in rig.ledger if row.revised_at is None) <= rig.batch()
    assert {message["ch"] for message in rig.ears.of("reset")} == {f"k:{rig.series}", "signals"}


def test_what_a_damaged_file_took_is_asked_for_before_anything_is_judged_anew(rig: Rig) -> None:
    """No signal is found because of the hole, and none that was told is marked as revised."""
    rig.live(*range(HISTORY, HISTORY + 60))
    rig.work.tidy()
    told = [(row.pk, row.revised_at) for row in rig.ledger]
    for file in (candle_store().root / "candles" / rig.series.symbol / "1m").glob("*.parquet"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(StoreError, match=r"candles that were judged are missing from .* asked for again"):
        rig.live(HISTORY + 60)
    rig.work.recover()
    assert rig.stored == rig.exchange.rows[: HISTORY + 61]
    assert [(row.pk, row.revised_at) for row in rig.ledger][: len(told)] == told
    assert rig.told() == rig.batch()
    assert rig.work._tracker.revision == 0


def test_a_start_behind_a_hole_that_may_be_filled_yet_judges_up_to_it(rig: Rig) -> None:
    """F51: the candles behind it were stored by a process that was killed before it could wait."""
    rig.live(HISTORY)
    hole = rig.exchange.rows[HISTORY + 1].open_time
    rig.exchange.missing = {hole}
    rig.exchange.move_to(HISTORY + 60)
    record(rig.series, Candles.of(rig.exchange.rows[HISTORY + 2 : HISTORY + 60]), source=Source.REST)
    work = rig.new_work()
    assert work.recover().gap == (hole, hole + 60_000)
    assert work.through == rig.exchange.rows[HISTORY].open_time
    assert rig.told() == set()
    rig.exchange.missing = set()
    assert work.recover().gap is None
    assert rig.told() == rig.batch() != set()


def test_a_revision_that_is_taken_back_leaves_no_mark(rig: Rig) -> None:
    rig.live(*range(HISTORY, HISTORY + 60))
    former = rig.exchange.rows[HISTORY + 20 : HISTORY + 23]
    rig.revise(HISTORY + 20, HISTORY + 23)
    rig.work.refresh()
    assert any(row.revised_at for row in rig.ledger)
    record(rig.series, Candles.of(former), source=Source.REST)
    rig.ears.messages.clear()
    rig.work.refresh()
    assert entered(row for row in rig.ledger if row.revised_at is None) == rig.batch()
    assert "signals" in {message["ch"] for message in rig.ears.of("reset")}


def test_what_is_entered_is_told_though_the_database_fails_at_once_after_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signals.feed.telling.tick_size", _fail)
    rig.live(*range(HISTORY, HISTORY + 60))
    assert len(rig.ears.of("signal")) == len(rig.ledger) > 0


def _fail(_: str) -> float:
    raise OperationalError("the database is away")


def test_a_rebuild_while_nobody_led_is_marked_and_told_at_the_next_start(rig: Rig) -> None:
    """A backfill's process revises a judged candle and rebuilds the log; whoever leads next says so, once."""
    rig.live(*range(HISTORY, HISTORY + 60))
    rig.revise(HISTORY + 20, HISTORY + 23)
    Tracker(rig.series, store=candle_store(), root=settings.DATA_ROOT).catch_up()
    assert all(row.revised_at is None for row in rig.ledger)
    rig.ears.messages.clear()
    rig.new_work().recover()
    revised = {row.pk: row.revised_at for row in rig.ledger if row.revised_at is not None}
    assert revised
    assert entered(row for row in rig.ledger if row.revised_at is None) <= rig.batch()
    assert [message["ch"] for message in rig.ears.of("reset")].count("signals") == 1
    rig.ears.messages.clear()
    rig.new_work().recover()
    assert {row.pk: row.revised_at for row in rig.ledger if row.revised_at is not None} == revised
    assert {message["ch"] for message in rig.ears.of("reset")} == {f"k:{rig.series}"}


def test_a_forming_candle_is_previewed_and_never_judged(rig: Rig) -> None:
    rows = rig.exchange.rows
    for index in range(HISTORY, HISTORY + 60):
        wild = rows[index]._replace(
            high=rows[index].high * 1.5, low=rows[index].low * 0.5, close=rows[index].high * 1.4
        )
        rig.work.preview(rig.exchange.update(index, wild, is_closed=False))
        rig.work.preview(rig.exchange.update(index, is_closed=False))
        rig.live(index)
    assert rig.stored == rows[: HISTORY + 60]
    assert rig.told() == rig.batch()
    forming = [message for message in rig.ears.of("kline") if not message["closed"]]
    assert len(forming) == 120
    assert any(message["signals"] for message in forming)


def test_whether_a_candle_has_news_is_known_before_it_is_stored(rig: Rig) -> None:
    for index in range(HISTORY, LENGTH):
        has_news = rig.work.has_news([rig.exchange.update(index)])
        known = len(rig.ledger)
        rig.live(index)
        assert (len(rig.ledger) > known) == has_news
    assert rig.told() == rig.batch()
    assert {kind for _, kind, *_ in rig.told()} <= set(settings.ENV.indicators)


def test_candles_that_do_not_follow_at_once_may_have_news(rig: Rig) -> None:
    updates = [rig.exchange.update(index) for index in range(HISTORY - 1, HISTORY + 3)]
    assert rig.work.has_news(updates[1:3])
    assert rig.work.has_news([updates[0]])
    assert rig.work.has_news([updates[2]])
    assert rig.new_work().has_news([updates[1]])


def test_a_forming_candle_that_is_over_is_not_told(rig: Rig) -> None:
    rig.live(HISTORY)
    rig.ears.messages.clear()
    rig.work.preview(rig.exchange.update(HISTORY, is_closed=False))
    assert rig.ears.messages == []


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
    assert rig.ears.messages == []
