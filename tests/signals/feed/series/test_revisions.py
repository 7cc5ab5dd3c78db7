"""Candles that change after they were judged: what was told of them is marked, and taken back, once."""

import pytest
from django.conf import settings

from markets.candles import Candles
from markets.models import Revision
from markets.selectors import candle_store
from markets.services.recording import record
from markets.store import Source
from signals.services import Tracker
from tests.signals.feed.batches import entered
from tests.signals.feed.series.rig import HISTORY, Rig

pytestmark = pytest.mark.django_db


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
    rig.said.messages.clear()
    rig.work.refresh()
    revised = [row for row in rig.ledger if row.revised_at is not None]
    assert revised
    assert {row.pk for row in rig.ledger} >= before
    assert entered(row for row in rig.ledger if row.revised_at is None) <= rig.batch()
    assert {message["ch"] for message in rig.said.of("reset")} == {f"k:{rig.series}", "signals"}


def test_a_revision_that_is_taken_back_leaves_no_mark(rig: Rig) -> None:
    rig.live(*range(HISTORY, HISTORY + 60))
    former = rig.exchange.rows[HISTORY + 20 : HISTORY + 23]
    rig.revise(HISTORY + 20, HISTORY + 23)
    rig.work.refresh()
    assert any(row.revised_at for row in rig.ledger)
    record(rig.series, Candles.of(former), source=Source.REST)
    rig.said.messages.clear()
    rig.work.refresh()
    assert entered(row for row in rig.ledger if row.revised_at is None) == rig.batch()
    assert "signals" in {message["ch"] for message in rig.said.of("reset")}


def test_a_rebuild_while_nobody_led_is_marked_and_told_at_the_next_start(rig: Rig) -> None:
    """A backfill's process revises a judged candle and rebuilds the log; whoever leads next says so, once."""
    rig.live(*range(HISTORY, HISTORY + 60))
    rig.revise(HISTORY + 20, HISTORY + 23)
    Tracker(rig.series, store=candle_store(), root=settings.DATA_ROOT).catch_up()
    assert all(row.revised_at is None for row in rig.ledger)
    rig.said.messages.clear()
    rig.new_work().recover()
    revised = {row.pk: row.revised_at for row in rig.ledger if row.revised_at is not None}
    assert revised
    assert entered(row for row in rig.ledger if row.revised_at is None) <= rig.batch()
    assert [message["ch"] for message in rig.said.of("reset")].count("signals") == 1
    rig.said.messages.clear()
    rig.new_work().recover()
    assert {row.pk: row.revised_at for row in rig.ledger if row.revised_at is not None} == revised
    assert {message["ch"] for message in rig.said.of("reset")} == {f"k:{rig.series}"}
