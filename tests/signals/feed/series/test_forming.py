"""Candles that are still forming are shown and never believed, and what they may bring is known before."""

import os

import numpy as np
import pytest
from django.conf import settings

from tests.signals.feed.series.rig import HISTORY, LENGTH, Rig

pytestmark = pytest.mark.django_db

PARTIALS = 5_000 if os.environ.get("SMC_FULL") == "1" else 400
CLOSED = 20


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
    forming = [message for message in rig.said.of("kline") if not message["closed"]]
    assert len(forming) == 120
    assert any(message["signals"] for message in forming)


def test_partial_never_closed(rig: Rig) -> None:
    """P10: updates with extreme wicks are told as open; what is stored and signalled is of closed candles alone."""
    chance, rows = np.random.default_rng(10), rig.exchange.rows
    for index in range(HISTORY, HISTORY + CLOSED):
        for _ in range(PARTIALS // CLOSED):
            low, high = rows[index].low * chance.uniform(0.2, 1.0), rows[index].high * chance.uniform(1.0, 5.0)
            wild = rows[index]._replace(low=low, high=high, close=chance.uniform(low, high))
            rig.work.preview(rig.exchange.update(index, wild, is_closed=False))
        rig.live(index)
    assert rig.stored == rows[: HISTORY + CLOSED]
    assert rig.told() == rig.batch()
    assert len(rig.said.of("signal")) == len(rig.ledger)
    told = rig.said.of("kline")
    assert sum(not message["closed"] for message in told) == PARTIALS
    assert [message["close"] for message in told if message["closed"]] == [row.close for row in rows[HISTORY:][:CLOSED]]


def test_a_forming_candle_that_is_over_is_not_told(rig: Rig) -> None:
    rig.live(HISTORY)
    rig.said.messages.clear()
    rig.work.preview(rig.exchange.update(HISTORY, is_closed=False))
    assert rig.said.messages == []


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
