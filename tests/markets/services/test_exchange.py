"""Which exchange a process talks to."""

from typing import Any

import pytest

from markets.errors import ServiceUnavailableError
from markets.services.exchange import open_exchange
from smcsite.env import Environment

URLS = {
    "BINANCE_REST_URL": "http://127.0.0.1:9",
    "BINANCE_WS_URL": "ws://127.0.0.1:9",
    "BINANCE_ARCHIVE_URL": "http://127.0.0.1:9",
}


@pytest.mark.parametrize("missing", URLS)
def test_a_replay_that_nobody_said_where_it_is_is_no_real_market(settings: Any, missing: str) -> None:
    """Or real candles would come to lie among made-up ones."""
    settings.ENV = Environment.read({"MARKET_SOURCE": "replay", **URLS, missing: ""})
    with pytest.raises(ServiceUnavailableError, match=r"replay needs BINANCE_REST_URL.* manage.py serve starts one"):
        open_exchange.__wrapped__()
    settings.ENV = Environment.read({"MARKET_SOURCE": "replay", **URLS})
    open_exchange.__wrapped__()
    settings.ENV = Environment.read({"MARKET_SOURCE": "binance", missing: ""})
    open_exchange.__wrapped__()
