"""Binance's spot market: REST, streams and the bulk archive behind the ``Exchange`` port."""

from markets.candles import Candles
from markets.exchanges import PairInfo
from markets.exchanges.binance_archive import BinanceArchive
from markets.exchanges.binance_rest import PAGE, BinanceRest
from markets.exchanges.binance_stream import BinanceStream
from markets.exchanges.limits import RequestBudget
from markets.exchanges.stream_timing import StreamTiming
from markets.series import SeriesKey


class BinanceExchange:
    """An ``Exchange``. The three base URLs are ``scheme://host[:port]``; plain http and ws only on loopback.
    Without an ``archive_url`` it has no archive, as the testnet.

    Parameters
    ----------
    max_reconnects
        How many connects in a row may fail before a stream gives up; 0: never.
    """

    def __init__(  # noqa: PLR0913 - an exchange is its addresses and how to treat them
        self,
        rest_url: str,
        stream_url: str,
        archive_url: str | None,
        *,
        budget: RequestBudget,
        max_reconnects: int = 0,
        api_key: str = "",
        timing: StreamTiming | None = None,
    ) -> None:
        self.rest = BinanceRest(rest_url, budget=budget, api_key=api_key)
        self.archive = BinanceArchive(archive_url) if archive_url is not None else None
        self._stream_url = stream_url
        self._max_reconnects = max_reconnects
        self._timing = timing if timing is not None else StreamTiming()

    def server_time(self) -> int:
        """Return the exchange's clock, UTC ms."""
        return self.rest.server_time()

    def pairs(self) -> list[PairInfo]:
        """Return what Binance says of all its pairs."""
        return self.rest.pairs()

    def candles(self, series: SeriesKey, *, start: int, end: int | None = None, limit: int = PAGE) -> Candles:
        """Return closed candles with ``start <= open_time < end``, oldest first, at most ``limit``."""
        return self.rest.candles(series, start=start, end=end, limit=limit)

    def open_stream(self) -> BinanceStream:
        """Return a new stream of live candles; close it when it is no longer needed."""
        return BinanceStream(
            self._stream_url,
            read_time=lambda: self.rest.server_time(attempts=1),
            timing=self._timing,
            max_reconnects=self._max_reconnects,
        )
