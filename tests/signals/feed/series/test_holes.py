"""Candles that are missing: nothing behind them is judged until they are there or proven not to exist."""

import pytest
from django.utils import timezone

from markets.candles import Candles
from markets.errors import StoreError
from markets.models import ExchangeGap
from markets.selectors import candle_store
from markets.services.backfilling import PROOF_AFTER
from markets.services.recording import record
from markets.store import Source
from tests.signals.feed.series.rig import HISTORY, Rig

pytestmark = pytest.mark.django_db


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
