"""Binance's REST endpoints of market data, over the book."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from markets.replay.book import Book
from markets.replay.limits import TooManyRequestsError, Weights
from markets.replay.messages import kline_array, symbol_info, ticker
from markets.replay.parameters import RefusedError, kline_query, no_parameters, scale_of, symbols_query
from markets.series import SeriesKey

Answer = Callable[[Mapping[str, str], int], Any]


@dataclass(frozen=True, slots=True)
class Rest:
    """The endpoints. Each method takes the parameters and the units of a millisecond, and returns what becomes JSON."""

    book: Book
    weights: Weights

    def routes(self) -> list[Route]:
        endpoints: dict[str, tuple[Answer, int]] = {
            "ping": (self.ping, 1),
            "time": (self.time, 1),
            "exchangeInfo": (self.exchange_info, 20),
            "klines": (self.klines, 2),
            "uiKlines": (self.klines, 2),
            "ticker/24hr": (self.ticker, 2),
        }
        return [Route(f"/api/v3/{path}", self._endpoint(*each), methods=["GET"]) for path, each in endpoints.items()]

    def ping(self, values: Mapping[str, str], scale: int) -> dict[str, Any]:
        no_parameters(values)
        return {}

    def time(self, values: Mapping[str, str], scale: int) -> dict[str, Any]:
        no_parameters(values)
        return {"serverTime": self.book.told_time() * scale}

    def exchange_info(self, values: Mapping[str, str], scale: int) -> dict[str, Any]:
        also = ("permissions", "showPermissionSets", "symbolStatus")
        symbols = symbols_query(values, also=also)
        status = values.get("symbolStatus")
        if status is not None and symbols is not None:
            raise RefusedError(-1128, "Combination of optional parameters invalid.")
        if status not in (None, "TRADING", "HALT", "BREAK"):
            raise RefusedError(-1122, "Invalid symbolStatus.")
        chosen = self._known(symbols) if symbols is not None else self.book.symbols()
        listed = [(self.book.market.listings[symbol], self.book.status(symbol)) for symbol in chosen]
        return {
            "timezone": "UTC",
            "serverTime": self.book.told_time() * scale,
            "rateLimits": [
                _limit("REQUEST_WEIGHT", "MINUTE", 1, self.weights.limit),
                _limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
            ],
            "exchangeFilters": [],
            "symbols": [symbol_info(listing, word) for listing, word in listed if status in (None, word)],
        }

    def klines(self, values: Mapping[str, str], scale: int) -> list[list[Any]]:
        query = kline_query(values)
        self._known([query.symbol])
        series = SeriesKey(query.symbol, query.timeframe)
        rows = self.book.rows(series, start=query.start, end=query.end, limit=query.limit)
        return [kline_array(row, query.timeframe.milliseconds, scale=scale) for row in rows]

    def ticker(self, values: Mapping[str, str], scale: int) -> Any:
        symbols = symbols_query(values, also=("type", "symbolStatus"))
        if values.get("type", "FULL") not in ("FULL", "MINI"):
            raise RefusedError(-1130, "Data sent for parameter 'type' is not valid.")
        chosen = self._known(symbols) if symbols is not None else self.book.symbols()
        is_full, now = values.get("type", "FULL") == "FULL", self.book.clock.now()
        days = [(symbol, self.book.last_day(symbol)) for symbol in chosen]
        answers = [ticker(symbol, day, close_time=now, is_full=is_full) for symbol, day in days if day]
        return answers[0] if "symbol" in values and answers else answers

    def _known(self, symbols: list[str]) -> list[str]:
        if not all(self.book.has(symbol) for symbol in symbols):
            raise RefusedError(-1121, "Invalid symbol.")
        return symbols

    def _endpoint(self, answer: Answer, weight: int) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            address = request.client.host if request.client else ""
            try:
                self.weights.charge(address, _weight_of(request, weight))
                scale = scale_of(request.headers.get("x-mbx-time-unit"))
                body = await run_in_threadpool(answer, _values(request), scale)
            except RefusedError as error:
                return self._refusal(error, address)
            return json_response(body, headers=self._headers(address))

        return endpoint

    def _headers(self, address: str) -> dict[str, str]:
        used = str(self.weights.used(address))
        return {"x-mbx-used-weight": used, "x-mbx-used-weight-1m": used}

    def _refusal(self, error: RefusedError, address: str) -> Response:
        headers = self._headers(address)
        if isinstance(error, TooManyRequestsError):
            headers["retry-after"] = str(error.retry_after)
        return json_response({"code": error.number, "msg": str(error)}, status=error.status, headers=headers)


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(body), status_code=status, headers=headers, media_type="application/json;charset=UTF-8"
    )


def _values(request: Request) -> Mapping[str, str]:
    pairs = request.query_params.multi_items()
    if len(dict(pairs)) != len(pairs):
        raise RefusedError(-1101, "Duplicate values for a parameter detected.")
    return dict(pairs)


def _weight_of(request: Request, weight: int) -> int:
    """Return what a request costs: 24 h statistics by how many pairs are asked."""
    if not request.url.path.endswith("24hr") or "symbol" in request.query_params:
        return weight
    asked = request.query_params.get("symbols", "").count(",") + 1 if "symbols" in request.query_params else 101
    return 2 if asked <= 20 else 40 if asked <= 100 else 80


def _limit(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
