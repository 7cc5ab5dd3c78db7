"""Binance's REST interface: the exchange's clock, its pairs, closed candles."""

import difflib
import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import orjson

from markets.candles import Candle, CandleFlow, Candles
from markets.errors import (
    BadAnswerError,
    ExchangeError,
    ExchangeUnavailableError,
    GeoBlockedError,
    RateLimitedError,
    SmcError,
    UnknownSymbolError,
)
from markets.exchanges import SETTLE_MILLISECONDS, PairInfo
from markets.exchanges.backoff import full_jitter
from markets.exchanges.limits import RequestBudget, moment_after
from markets.exchanges.transport import Answer, Bounds, Transport
from markets.exchanges.wire import REST_NAMES, ImpossibleCandleError, MalformedError, read_candle, read_time
from markets.series import SeriesKey, Timeframe

logger = logging.getLogger(__name__)

PAGE = 1000
_ATTEMPTS = 4
_RETRY_CAP_SECONDS = 8.0
_WEIGHTS = {"/api/v3/time": 1, "/api/v3/exchangeInfo": 20, "/api/v3/klines": 2}
_UNKNOWN_SYMBOL = -1121
# Binance says Retry-After with both; these are for an answer that does not.
_DEFAULT_WAITS = {429: 60.0, 418: 120.0}

Row = tuple[Candle, CandleFlow]


class BinanceRest:
    """The client. Every request goes through the budget; a ban told to one process is honoured by all.

    ``rejected`` counts the rows that could not be candles, by reason.
    """

    def __init__(
        self,
        base_url: str,
        *,
        budget: RequestBudget,
        api_key: str = "",
        bounds: Bounds | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"X-MBX-APIKEY": api_key} if api_key else {}
        self._transport = Transport(base_url, bounds=bounds, headers=headers)
        self._budget = budget.for_host(self._transport.host)
        self._sleep = sleep
        self._symbols: list[str] = []
        self._known_time = 0
        self.rejected: Counter[str] = Counter()

    def server_time(self, *, attempts: int = _ATTEMPTS) -> int:
        """Return the exchange's clock, UTC ms."""
        answer = self._get("/api/v3/time", {}, attempts=attempts)
        try:
            now = read_time(answer["serverTime"])
        except (KeyError, TypeError, MalformedError) as error:
            raise BadAnswerError(f"the exchange's clock is unreadable: {answer!r:.120}") from error
        self._known_time = now
        return now

    def pairs(self) -> list[PairInfo]:
        """Return what Binance says of all its pairs."""
        answer = self._get("/api/v3/exchangeInfo", {"showPermissionSets": "false"})
        try:
            infos = [_pair_info(symbol) for symbol in answer["symbols"]]
            limits = [int(each["limit"]) for each in answer.get("rateLimits", []) if _is_minute_weight(each)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadAnswerError(f"exchangeInfo is unreadable: {error!r:.120}") from error
        if limits:
            self._budget.note_limit(min(limits))
        self._symbols = [info.symbol for info in infos]
        return infos

    def candles(self, series: SeriesKey, *, start: int, end: int | None = None, limit: int = PAGE) -> Candles:
        """Return closed candles with ``start <= open_time < end``, oldest first, at most ``limit``.

        A candle counts as closed when the exchange's clock is ``SETTLE_MILLISECONDS`` past its end. Pages follow
        each other by time, not by count: a page may be short, and rows may be missing or be no candles.
        """
        step = series.timeframe
        last_asked = start + limit * step.milliseconds
        now, is_fresh = self._time_before(last_asked if end is None else min(end, last_asked))
        rows: list[Row] = []
        at, wanted = start, limit
        while (wanted > 0 or not rows) and (end is None or at < end):
            page = self._page(series, at, end, limit=min(PAGE, max(wanted, 1)))
            settled = [row for row in page if is_settled(read_time(row[0]), step, now)]
            rows += self._read_rows(settled, step)
            wanted -= len(settled)
            if settled:
                at = read_time(settled[-1][0]) + 1
            if not page or (is_fresh and len(settled) < len(page)):
                break
            if len(settled) < len(page):
                now, is_fresh = self.server_time(), True
        return Candles.of((candle for candle, _ in rows), (flow for _, flow in rows))

    def _time_before(self, time_needed: int) -> tuple[int, bool]:
        """Return a time that the exchange's clock had passed before the next request is sent, and whether it is new.

        A row is judged by a clock read before it, never after: between the two, a fast clock could close a
        candle that was forming when it was read. An older reading does for what was over even then.
        """
        if time_needed + SETTLE_MILLISECONDS <= self._known_time:
            return self._known_time, False
        return self.server_time(), True

    def _page(self, series: SeriesKey, start: int, end: int | None, *, limit: int) -> list[list[Any]]:
        """Return the rows of one request, times checked to rise; rows outside the range are left out."""
        params: dict[str, str | int] = {
            "symbol": series.symbol,
            "interval": series.timeframe.value,
            "startTime": start,
            "limit": limit,
        }
        if end is not None:
            params["endTime"] = end - 1
        page = self._get("/api/v3/klines", params)
        if not isinstance(page, list) or not all(isinstance(row, list) and len(row) >= 11 for row in page):
            raise BadAnswerError(f"not rows of candles: {page!r:.120}")
        try:
            times = [read_time(row[0]) for row in page]
        except MalformedError as error:
            raise BadAnswerError(f"candles of {series} with a bad time: {error}") from error
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise BadAnswerError(f"candles of {series} out of order")
        return [row for row, time_ in zip(page, times, strict=True) if start <= time_ and (end is None or time_ < end)]

    def _read_rows(self, page: list[list[Any]], timeframe: Timeframe) -> list[Row]:
        rows = []
        for fields in page:
            try:
                rows.append(read_candle(fields, REST_NAMES, timeframe))
            except MalformedError:
                self.rejected["malformed"] += 1
            except ImpossibleCandleError as error:
                self.rejected[str(error)] += 1
        if len(rows) < len(page):
            logger.warning("rows rejected", extra={"count": len(page) - len(rows), "totals": dict(self.rejected)})
        return rows

    def _get(self, path: str, params: dict[str, str | int], *, attempts: int = _ATTEMPTS) -> Any:
        for attempt in range(attempts):
            self._budget.acquire(_WEIGHTS[path])
            try:
                return self._read(path, params, self._transport.get(path, params))
            except RateLimitedError:
                raise
            except ExchangeUnavailableError:
                if attempt == attempts - 1:
                    raise
                self._sleep(full_jitter(attempt, first=1.0, cap=_RETRY_CAP_SECONDS))
        raise AssertionError("unreachable")

    def _read(self, path: str, params: dict[str, str | int], answer: Answer) -> Any:
        used = answer.headers.get("x-mbx-used-weight-1m", answer.headers.get("x-mbx-used-weight", ""))
        if re.fullmatch(r"[0-9]{1,9}", used):
            self._budget.note_used(int(used))
        if answer.status != 200:
            raise self._refusal(path, params, answer)
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            kind = "a web page" if answer.body.lstrip()[:1] == b"<" else "something"
            text = f"{self._transport.host}{path} answers with {kind} that is not JSON (a proxy in between?)"
            raise BadAnswerError(text) from error

    def _refusal(self, path: str, params: dict[str, str | int], answer: Answer) -> SmcError:
        code, message = _error_of(answer.body)
        where = f"{self._transport.host}{path}"
        if answer.status in (418, 429):
            wait = _retry_after(answer)
            self._budget.ban(wait)
            word = "banned" if answer.status == 418 else "rate limited"
            text = f"{word} by {self._transport.host} until {moment_after(wait)}"
            return RateLimitedError(text, retry_after_seconds=wait)
        if answer.status == 451:
            return GeoBlockedError(
                f"{self._transport.host} refuses this location (451): {message or 'no reason given'}"
            )
        if answer.status >= 500:
            return ExchangeUnavailableError(f"{where} failed ({answer.status}): {message or 'no reason given'}")
        if code == _UNKNOWN_SYMBOL:
            symbol = str(params.get("symbol", ""))
            return UnknownSymbolError(symbol, near=difflib.get_close_matches(symbol, self._symbols, n=3))
        if answer.status == 403 and code is None:
            return ExchangeError(f"the firewall of {self._transport.host} refuses us (403, a web page, not JSON)")
        return ExchangeError(f"{where} refuses ({answer.status}): {message or 'no reason given'}")


def is_settled(open_time: int, timeframe: Timeframe, now: int) -> bool:
    """Whether a candle read by REST is final at ``now``, the exchange's clock (UTC ms)."""
    return open_time + timeframe.milliseconds + SETTLE_MILLISECONDS <= now


def _pair_info(symbol: dict[str, Any]) -> PairInfo:
    filters = {each["filterType"]: each for each in symbol.get("filters", [])}
    notional = filters.get("NOTIONAL", filters.get("MIN_NOTIONAL", {}))
    return PairInfo(
        symbol=str(symbol["symbol"]),
        base_asset=str(symbol["baseAsset"]),
        quote_asset=str(symbol["quoteAsset"]),
        status=str(symbol["status"]),
        tick_size=float(filters.get("PRICE_FILTER", {}).get("tickSize", 0)),
        step_size=float(filters.get("LOT_SIZE", {}).get("stepSize", 0)),
        min_notional=float(notional.get("minNotional", 0)),
    )


def _is_minute_weight(limit: dict[str, Any]) -> bool:
    return (limit.get("rateLimitType"), limit.get("interval"), limit.get("intervalNum")) == (
        "REQUEST_WEIGHT",
        "MINUTE",
        1,
    )


def _error_of(body: bytes) -> tuple[int | None, str]:
    """Return Binance's own code and words, where the body has them."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, ""
    if not isinstance(answer, dict) or type(answer.get("code")) is not int:
        return None, ""
    return answer["code"], str(answer.get("msg", ""))[:300]


def _retry_after(answer: Answer) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if re.fullmatch(r"[0-9]{1,7}", text) else _DEFAULT_WAITS[answer.status]
