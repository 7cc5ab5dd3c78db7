"""The client of docs/api.md does what the page says."""

import re
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from smcsite.env import BASE_DIR
from tests.factories import walk

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_documented_client_follows_pages(live_server: LiveServer) -> None:
    series = SeriesKey.of("CLIENTUSDT", "15m")
    candles = walk(4, 900, timeframe=Timeframe.M15)
    candle_store().merge(series, candles, source=Source.FILE)
    ensure_series(series)
    found = re.search(r"```python\n(.*?)```", (BASE_DIR / "docs/api.md").read_text(), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)  # noqa: S102 - our own documentation, to show that it runs
    client = names["Client"](live_server.url)
    parameters = {"symbol": "CLIENTUSDT", "timeframe": "15m", "from": "2020-01-01", "limit": 400}
    told = list(client.pages("candles/", **parameters))
    assert [row["close"] for row in told] == candles.close.tolist()
