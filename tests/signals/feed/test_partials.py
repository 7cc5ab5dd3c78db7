"""Candles that are still forming are shown and never believed."""

import os

import numpy as np
import pytest

from tests.signals.feed.test_series import HISTORY, Rig, fence, rig

__all__ = ["fence", "rig"]  # fixtures
pytestmark = pytest.mark.django_db

PARTIALS = 5_000 if os.environ.get("SMC_FULL") == "1" else 400
CLOSED = 20


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
    assert len(rig.ears.of("signal")) == len(rig.ledger)
    told = rig.ears.of("kline")
    assert sum(not message["closed"] for message in told) == PARTIALS
    assert [message["close"] for message in told if message["closed"]] == [row.close for row in rows[HISTORY:][:CLOSED]]
