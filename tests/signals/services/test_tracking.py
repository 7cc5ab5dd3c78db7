"""Following a series and publishing: live equals batch, each signal is told once, and no crash loses one."""

import multiprocessing
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from markets.candles import Candles, join
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.store import CandleStore, Source
from signals import selectors
from signals.engine import Detector, Params
from signals.log import SignalRow
from signals.log.told import told_mark
from signals.models import PublishedSignal
from signals.selectors import SignalFilter
from signals.services import Facts, Tracker, catch_up_series, enter_signals, mark_revised, naming, note_told
from tests.factories import nasty_walk, walk

pytestmark = pytest.mark.django_db

SERIES = SeriesKey.of("BTCUSDT", "1m")
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def tracker() -> Tracker:
    return Tracker(SERIES, store=candle_store(), root=settings.DATA_ROOT)


def feed(follower: Tracker, candles: Candles) -> list[Facts]:
    """Store and judge candles one by one, as the feed does."""
    told = []
    for candle in candles:
        one = Candles.of([candle])
        merged = candle_store().merge(SERIES, one, source=Source.STREAM)
        told.append(follower.advance(one, edit=merged.edit))
    return told


def tell(facts: Facts, *, now: datetime, late: bool, latency_ms: float | None = None) -> list[SignalRow]:
    """Enter, and note as told, as the feed does around the telling."""
    rows = enter_signals(facts, now=now, late=late, latency_ms=latency_ms)
    note_told(facts)
    return rows


def started(candles: Candles) -> Tracker:
    candle_store().merge(SERIES, candles, source=Source.FILE)
    follower = tracker()
    assert not follower.catch_up()
    return follower


def published_ids() -> list[tuple[object, ...]]:
    rows = PublishedSignal.objects.order_by("id")
    return list(rows.values_list("scale", "kind", "direction", "event_time", "ref_time"))


def keys(rows: list[SignalRow]) -> list[tuple[object, ...]]:
    wanted = [row for row in rows if row.kind in settings.ENV.indicators]
    return [(row.scale, row.kind, row.direction, row.event_time, row.ref_time) for row in wanted]


def logged(after: int) -> list[SignalRow]:
    return selectors.signals(SignalFilter(start=after + 1), limit=10_000, newest_first=False).rows


def test_live_backtest_parity(data_root: Path) -> None:
    """P12: what was told candle by candle is what the batch tells, with equal confirm times."""
    candles = nasty_walk(3, 320)
    told = [row for facts in feed(started(candles.first(200)), candles.take(slice(200, None))) for row in facts.signals]
    found = logged(int(candles.open_time[199]))
    assert [(row.id, row.confirm_time) for row in told] == [(row.id, row.confirm_time) for row in found]
    assert all(row.status == "active" and row.mitigated_time is None for row in told)
    batch = Detector(Params()).run(candles).table
    assert len([row for row in told if row.scale == "internal"]) == sum(batch.column("confirm_idx") >= 200)


@pytest.mark.parametrize("kept", [1_000, 3])
def test_marks_are_told_by_the_id_of_their_signal_however_few_are_remembered(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(naming, "_MOST_KEPT", kept)
    candles = nasty_walk(3, 320)
    facts = feed(started(candles.first(200)), candles.take(slice(200, None)))
    assert_marks_are_named(facts, candles)


def test_a_series_that_was_prepared_names_marks_without_a_look_at_what_lies_in_month_files(data_root: Path) -> None:
    candles = nasty_walk(3, 320)
    follower = started(candles.first(200))
    follower.prepare()
    hidden = {path: path.read_bytes() for path in (data_root / "signals").rglob("*.parquet")}
    assert hidden
    for path in hidden:
        path.unlink()
    facts = feed(follower, candles.take(slice(200, None)))
    for path, content in hidden.items():
        path.write_bytes(content)
    assert_marks_are_named(facts, candles)


def test_a_series_without_candles_can_be_prepared(data_root: Path) -> None:
    follower = tracker()
    assert not follower.catch_up()
    follower.prepare()
    (facts,) = feed(follower, walk(4, 1))
    assert facts.through == follower.through


def test_a_series_without_signals_can_be_prepared(data_root: Path) -> None:
    candles = walk(4, 3)
    follower = tracker()
    follower.prepare()
    candle_store().merge(SERIES, candles, source=Source.FILE)
    follower.catch_up()
    follower.prepare()
    assert not follower.catch_up()


def assert_marks_are_named(facts: list[Facts], candles: Candles) -> None:
    """Compare the marks of the candles after the first 200 with the lives of signals in the log."""
    told = [(mark.signal_id, mark.mark, mark.time, mark.kind) for each in facts for mark in each.marks]
    first = candles.open_time[200]
    lived = [
        (row.id, name, time, row.kind)
        for row in logged(0)
        for name in ("mitigated", "filled", "invalidated")
        if (time := getattr(row, f"{name}_time")) is not None and time >= first
    ]
    assert told
    assert sorted(told) == sorted(lived)


def test_candles_without_a_signal_are_counted_as_published_with_the_next_that_has_one(data_root: Path) -> None:
    candles = walk(4, 500)
    facts = feed(started(candles.first(400)), candles.take(slice(400, None)))
    through = candles.open_time[399]
    for each, time in zip(facts, candles.open_time[400:], strict=True):
        tell(each, now=NOW, late=False)
        through = time if each.signals else through
        assert told_mark(data_root, SERIES).through == through  # type: ignore[union-attr]


def test_history_is_not_published(data_root: Path) -> None:
    candles = walk(4, 500)
    follower = started(candles.first(400))
    assert follower.through == candles.open_time[399]
    assert not tracker().catch_up()
    facts = feed(follower, candles.take(slice(400, None)))
    for each in facts:
        tell(each, now=NOW, late=False, latency_ms=12.0)
    assert published_ids() == keys([row for each in facts for row in each.signals])
    row = PublishedSignal.objects.earliest("confirm_time")
    assert (row.latency_ms, row.is_late, row.published_at) == (12.0, False, NOW)
    assert row.closed_at == row.confirm_time + 60_000


def test_restart_no_realert(data_root: Path) -> None:
    """F54: ten restarts and catch-ups tell nothing twice."""
    candles = walk(4, 500)
    for each in feed(started(candles.first(400)), candles.take(slice(400, None))):
        tell(each, now=NOW, late=False)
    count = PublishedSignal.objects.count()
    assert count
    for _ in range(10):
        assert tell(tracker().catch_up(), now=NOW, late=True) == []
    assert PublishedSignal.objects.count() == count


def test_what_was_entered_and_not_noted_as_told_before_a_crash_is_not_new_again(data_root: Path) -> None:
    candles = walk(4, 500)
    facts = feed(started(candles.first(400)), candles.take(slice(400, None)))
    for each in facts[:50]:
        tell(each, now=NOW, late=False)
    entered = [row.id for each in facts[50:] for row in enter_signals(each, now=NOW, late=False)]
    assert entered
    found = tracker().catch_up()
    assert [row.id for row in found.signals if row.kind in settings.ENV.indicators] == entered
    assert tell(found, now=NOW, late=True) == []
    assert not tracker().catch_up()


def test_what_was_judged_and_not_published_before_a_crash_is_published_late(data_root: Path) -> None:
    candles = walk(4, 500)
    facts = feed(started(candles.first(400)), candles.take(slice(400, None)))
    for each in facts[:50]:
        tell(each, now=NOW, late=False)
    lost = [row for each in facts[50:] for row in each.signals]
    found = tracker().catch_up()
    assert [row.id for row in found.signals] == [row.id for row in lost]
    assert {row.id for row in tell(found, now=NOW, late=True)} == {
        row.id for row in lost if row.kind in settings.ENV.indicators
    }
    assert set(PublishedSignal.objects.filter(confirm_time__gt=candles.open_time[449]).values_list("is_late")) == {
        (True,)
    }
    assert not tracker().catch_up()
    assert told_mark(data_root, SERIES).through == candles.open_time[-1]  # type: ignore[union-attr]


def test_a_candle_whose_telling_failed_is_told_by_the_next_catch_up(data_root: Path) -> None:
    candles = walk(4, 500)
    facts = feed(started(candles.first(400)), candles.take(slice(400, None)))
    failed = next(place for place, each in enumerate(facts) if keys(each.signals))
    for place, each in enumerate(facts):
        if place != failed:
            tell(each, now=NOW, late=False)
    assert keys(tell(tracker().catch_up(), now=NOW, late=True)) == keys(facts[failed].signals)


def test_what_came_while_nobody_followed_is_told_with_its_life_so_far(data_root: Path) -> None:
    candles = walk(4, 700)
    started(candles.first(400))
    candle_store().merge(SERIES, candles, source=Source.REST)
    found = tracker().catch_up()
    assert found.signals == logged(int(candles.open_time[399]))
    assert {row.status for row in found.signals} >= {"active", "invalidated"}
    assert tell(found, now=NOW, late=True)


def test_a_signal_read_before_it_was_followed_is_published_all_the_same(data_root: Path) -> None:
    """A reader may judge candles before the feed does; the ledger still gets their signals."""
    candles = walk(4, 500)
    follower = started(candles.first(400))
    told = []
    for at in range(400, 500):
        one = candles.take(slice(at, at + 1))
        merged = candle_store().merge(SERIES, one, source=Source.STREAM)
        if at % 3 == 0:
            Tracker(SERIES, store=CandleStore(data_root), root=data_root).catch_up()
        told += tell(follower.advance(one, edit=merged.edit), now=NOW, late=False)
    found = [row for row in logged(int(candles.open_time[399])) if row.kind in settings.ENV.indicators]
    assert [row.id for row in told] == [row.id for row in found]


def test_a_preview_tells_what_the_close_would_and_keeps_nothing(data_root: Path) -> None:
    candles = nasty_walk(3, 340)
    follower = started(candles.first(300))
    for candle in candles.take(slice(300, None)):
        forming = follower.preview(candle)
        assert follower.preview(candle._replace(close=candle.open)).signals is not None
        (closed,) = feed(follower, Candles.of([candle]))
        assert forming.signals == closed.signals
        assert forming.marks == closed.marks


def test_kinds_that_are_no_indicators_are_found_and_not_published(data_root: Path) -> None:
    candles = walk(4, 400)
    facts = feed(started(candles.first(300)), candles.take(slice(300, None)))
    assert {row.kind for each in facts for row in each.signals} - set(settings.ENV.indicators)
    for each in facts:
        tell(each, now=NOW, late=False)
    assert {key[1] for key in published_ids()} == set(settings.ENV.indicators)


def test_closed_revision(data_root: Path) -> None:
    """F11: a changed candle rebuilds the log; what was published stays, and is marked when it no longer holds."""
    candles = walk(4, 600)
    follower = started(candles.first(420))
    for each in feed(follower, candles.take(slice(420, 500))):
        tell(each, now=NOW, late=False)
    before = published_ids()
    changed = candles.candle(450)
    candle_store().merge(SERIES, Candles.of([changed._replace(high=changed.high * 1.05)]), source=Source.REST)
    (facts,) = feed(follower, candles.take(slice(500, 501)))
    assert follower.revision == 1
    new = tell(facts, now=NOW, late=True)
    marked = mark_revised(SERIES, now=NOW)
    assert marked
    assert published_ids()[: len(before)] == before
    current = {row.id: row for row in logged(int(candles.open_time[419]))}
    for row in PublishedSignal.objects.filter(revised_at=None):
        direction = "up" if row.direction == 1 else "down"
        found = current[f"{SERIES.symbol}.1m.{row.scale}.{row.kind}.{direction}.{row.event_time}.{row.ref_time}"]
        assert (found.level, found.strength, found.confirm_time) == (row.level, row.strength, row.confirm_time)
    assert new
    assert all(row.id in current for row in new)
    assert mark_revised(SERIES, now=NOW) == 0
    assert {row.revision for row in PublishedSignal.objects.filter(confirm_time__gte=candles.open_time[500])} <= {1}


def test_candles_that_turn_up_before_the_log_began_are_history(data_root: Path) -> None:
    candles = walk(4, 900)
    follower = started(candles.take(slice(500, 600)))
    for each in feed(follower, candles.take(slice(600, 640))):
        tell(each, now=NOW, late=False)
    candle_store().merge(SERIES, candles.first(500), source=Source.ARCHIVE)
    facts = follower.catch_up()
    assert follower.revision == 1
    assert all(row.confirm_time > candles.open_time[599] for row in facts.signals)
    assert len(logged(-1)) > 5 * len(facts.signals)


def test_a_hole_that_is_filled_gives_its_signals_late(data_root: Path) -> None:
    candles = walk(4, 600)
    follower = started(candles.first(300))
    with_hole = join([candles.take(slice(300, 350)), candles.take(slice(400, 450))])
    told = [row for each in feed(follower, with_hole) for row in tell(each, now=NOW, late=False)]
    candle_store().merge(SERIES, candles.take(slice(350, 400)), source=Source.REST)
    late = tell(follower.catch_up(), now=NOW, late=True)
    held = {row.id for row in logged(int(candles.open_time[299])) if row.kind in settings.ENV.indicators}
    assert {row.id for row in late} == held - {row.id for row in told}
    assert any(candles.open_time[350] <= row.confirm_time < candles.open_time[400] for row in late)


def test_nothing_stored_tells_nothing(data_root: Path) -> None:
    facts = catch_up_series(SERIES)
    assert not facts
    assert tell(facts, now=NOW, late=True) == []
    assert mark_revised(SERIES, now=NOW) == 0


@pytest.fixture
def file_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A database that other processes can open too; the tests' own is in memory."""
    in_memory, connection.connection = connection.connection, None
    monkeypatch.setitem(connection.settings_dict, "NAME", str(tmp_path / "race.sqlite3"))
    call_command("migrate", verbosity=0)
    yield
    connection.close()
    connection.connection = in_memory


def _tell_in_turn(facts: Facts, barrier: Barrier, answers: "Queue[list[str]]") -> None:
    connection.connection = None
    barrier.wait()
    answers.put([row.id for row in tell(facts, now=NOW, late=False)])
    connection.close()


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_signal_unique_race(data_root: Path, file_database: None) -> None:
    """F55: of two processes that tell the same at once, each signal is new to exactly one."""
    candles = walk(4, 430)
    facts = feed(started(candles.first(400)), candles.take(slice(400, None)))
    told = [each for each in facts if keys(each.signals)][:6]
    fork = multiprocessing.get_context("fork")
    for each in told:
        barrier, answers = fork.Barrier(2), fork.Queue()
        processes = [fork.Process(target=_tell_in_turn, args=(each, barrier, answers)) for _ in range(2)]
        for process in processes:
            process.start()
        found = answers.get(timeout=60) + answers.get(timeout=60)
        for process in processes:
            process.join()
        assert sorted(found) == sorted(row.id for row in each.signals if row.kind in settings.ENV.indicators)
    assert published_ids() == [key for each in told for key in keys(each.signals)]
