"""The port to a market that is replayed, and the path of the price inside one candle."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

from markets.candles import FLOW_COLUMNS, PRICE_COLUMNS, Candles
from markets.series import SeriesKey


@dataclass(frozen=True, slots=True)
class Listing:
    """A pair as the exchange lists it. Sizes are powers of ten, given as decimals after the point."""

    symbol: str
    base_asset: str
    quote_asset: str
    price_decimals: int
    step_decimals: int


class Row(NamedTuple):
    """One candle with everything the exchange tells of it: prices and quote volumes in quote currency."""

    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trades: int
    taker_buy_base: float
    taker_buy_quote: float


class Market(Protocol):
    """The whole truth of a market, past and future alike; what may be told of it at a moment is ``book``'s to say."""

    name: str
    listings: Mapping[str, Listing]

    def timeframes(self, symbol: str) -> tuple[str, ...]:
        """Return the timeframes this market has of a pair."""

    def candles(self, series: SeriesKey, start: int, end: int) -> Candles:
        """Return the candles with ``start <= open_time < end`` (UTC ms), with their flow."""

    def row(self, series: SeriesKey, open_time: int) -> Row | None:
        """Return the candle that opened at ``open_time``, None when there is none."""

    def first_time(self, series: SeriesKey) -> int | None:
        """Return the open time of the first candle, None when there is none."""

    def newest_before(self, series: SeriesKey, end: int, count: int) -> Candles:
        """Return the last ``count`` candles with ``open_time < end``."""

    def oldest_from(self, series: SeriesKey, start: int, end: int, count: int) -> Candles:
        """Return the first ``count`` candles with ``start <= open_time < end``."""

    def forming(self, series: SeriesKey, now: int) -> Row | None:
        """Return the candle that is open at ``now`` as far as it has come; None when there is none."""


def rows_of(candles: Candles) -> list[Row]:
    """Return the candles as rows; their flow must be known."""
    flow = candles.flow
    if not len(candles):
        return []
    if flow is None:
        raise ValueError("a replayed market tells the flow of every candle")
    columns = [candles.open_time, *(getattr(candles, name) for name in (*PRICE_COLUMNS, "volume"))]
    columns += [getattr(flow, name) for name in FLOW_COLUMNS]
    lists = [column.tolist() for column in columns]
    lists[7] = [int(count) for count in lists[7]]
    return list(map(Row._make, zip(*lists, strict=True)))


def partial(row: Row, fraction: float, listing: Listing) -> Row:
    """Return ``row`` when ``fraction`` of its time has passed.

    The price goes open, high, low, close, or open, low, high, close: the nearer extreme first. Trades,
    volumes and the way travelled grow together, so every state is a legal candle, nothing ever shrinks,
    and the last state is the row itself.
    """
    done = min(row.trades, int(row.trades * fraction) + 1)
    if done >= row.trades:
        return row
    share = done / row.trades
    turns = (row.high, row.low) if row.high - row.open < row.open - row.low else (row.low, row.high)
    price, low, high = _travel((row.open, *turns, row.close), share, listing.price_decimals)
    volume = round(row.volume * share, listing.step_decimals)
    return Row(
        row.open_time,
        row.open,
        high,
        low,
        price,
        volume,
        round(row.quote_volume * share, 8),
        done,
        min(volume, round(row.taker_buy_base * share, listing.step_decimals)),
        round(row.taker_buy_quote * share, 8),
    )


def _travel(points: tuple[float, ...], share: float, decimals: int) -> tuple[float, float, float]:
    """Return price, lowest and highest after ``share`` of the way along ``points``."""
    legs = list(pairwise(points))
    left = share * sum(abs(end - begin) for begin, end in legs)
    price = low = high = points[0]
    for begin, end in legs:
        length = abs(end - begin)
        price = end if left >= length else round(begin + (end - begin) * left / length, decimals)
        low, high = min(low, price), max(high, price)
        left -= length
        if left <= 0:
            break
    return price, low, high


def split_symbol(symbol: str) -> tuple[str, str]:
    """Return base and quote asset of a symbol such as BTCUSDT."""
    for quote in ("USDT", "USDC", "BUSD", "FDUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD"):
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    cut = max(1, len(symbol) // 2)
    return symbol[:cut], symbol[cut:] or symbol
