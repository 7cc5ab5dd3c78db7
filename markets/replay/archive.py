"""The bulk archive: zipped CSV files by month and by day, made when they are asked for."""

import hashlib
import io
import re
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from markets.candles import PRICE_COLUMNS, Candles, FloatArray, Flow, TimeArray
from markets.moments import milliseconds
from markets.replay.book import Book
from markets.replay.faults import Faults
from markets.series import SYMBOL_PATTERN, SeriesKey, Timeframe

MICROSECONDS_SINCE = 1_735_689_600_000  # 2025-01-01: spot files count in µs from this day on
_PUBLISHED = timedelta(hours=8, minutes=30)
_CACHE_BYTES = 128 * 1024 * 1024
_DEFLATED_BYTES = 2 * 1024 * 1024
_NAME = re.compile(r"([A-Z0-9]+)-(\w+)-(\d{4})-(\d\d)(?:-(\d\d))?\.zip", re.ASCII)
_HEADER = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    b"taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
_NO_KEY = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
    "<Message>The specified key does not exist.</Message><Key>{key}</Key></Error>"
)
# Decimals of 64 bits are written in half the time of those of 128, and hold less.
_SHORT, _LONG, _SHORT_LIMIT = pa.decimal64(18, 8), pa.decimal128(28, 8), 9e9


@dataclass(frozen=True, slots=True)
class Period:
    """What one file holds: the candles of a series that open from ``first`` until before ``end``."""

    series: SeriesKey
    first: date
    end: date

    @property
    def start_time(self) -> int:
        return _time(self.first)

    @property
    def end_time(self) -> int:
        return _time(self.end)

    @property
    def published_at(self) -> int:
        """When the file appears: the next morning for a day, the first Monday's of the next month for a month."""
        day = self.end if (self.end - self.first).days == 1 else self.end + timedelta(days=-self.end.weekday() % 7)
        return _time(day) + round(_PUBLISHED.total_seconds() * 1000)


class Archive:
    """The tree ``/data/spot/{monthly,daily}/klines/…``. Files are made once and kept while there is room."""

    def __init__(self, book: Book, faults: Faults) -> None:
        self._book = book
        self._faults = faults
        self._made: OrderedDict[object, Future[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        return [
            Route("/data/spot/{period}/klines/{symbol}/{interval}/{name}", self._serve, methods=["GET"]),
        ]

    def file(self, period: Period, name: str) -> bytes:
        """Return the zip file as the exchange made it; empty when there are no candles."""
        options = _Options.of(self._faults, period, name)
        return self._once((period, options, self._book.market.edition), lambda: self._make(period, name, options))

    def _make(self, period: Period, name: str, options: "_Options") -> bytes:
        end = min(period.end_time, period.start_time + options.days * 86_400_000)
        market = self._book.market
        candles = market.told(
            period.series, market.truth.candles(period.series, period.start_time, end), now=self._book.clock.now()
        )
        if not len(candles):
            return b""
        text = csv_of(candles, period.series.timeframe, scale=options.scale)
        return zipped(name.removesuffix(".zip") + ".csv", (_HEADER + text) if options.has_header else text)

    async def _serve(self, request: Request) -> Response:
        path = request.path_params
        name = path["name"].removesuffix(".CHECKSUM")
        period = period_of(path["period"], path["symbol"], path["interval"], name)
        if period is None or not self._is_there(period, name):
            return _missing(request)
        data = await run_in_threadpool(self.file, period, name)
        if not data:
            return _missing(request)
        if path["name"] == name:
            is_damaged = self._strike("archive_corrupt", name)
            return Response(_spoiled(data) if is_damaged else data, media_type="application/zip")
        lie = self._faults.strike_request("archive_checksum", name)
        if lie is not None and lie["missing"]:
            return _missing(request)
        digest = hashlib.sha256(data if lie is None else data + b"!").hexdigest()
        return Response(f"{digest}  {name}\n", media_type="binary/octet-stream")

    def _is_there(self, period: Period, name: str) -> bool:
        is_known = self._book.has(period.series.symbol)
        is_known &= period.series.timeframe in self._book.market.timeframes(period.series.symbol)
        return is_known and self._book.clock.now() >= period.published_at and not self._strike("archive_missing", name)

    def _strike(self, verb: str, name: str) -> bool:
        return self._faults.strike_request(verb, name) is not None

    def _once(self, key: object, make: Callable[[], bytes]) -> bytes:
        """Return what ``make`` makes for a key; several who ask at once wait for the one that began."""
        with self._lock:
            future = self._made.get(key)
            is_ours = future is None
            if future is None:
                future = self._made[key] = Future()
            self._made.move_to_end(key)
        if is_ours:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._made.pop(key, None)
                future.set_exception(error)
                raise
            self._forget()
        return future.result()

    def _forget(self) -> None:
        with self._lock:
            sizes = {key: len(each.result()) for key, each in self._made.items() if each.done()}
            for key in list(sizes):
                if sum(sizes.values()) <= _CACHE_BYTES or len(sizes) == 1:
                    return
                del self._made[key], sizes[key]


@dataclass(frozen=True, slots=True)
class _Options:
    """How a file is written. Faults change it."""

    days: int
    scale: int
    has_header: bool

    @classmethod
    def of(cls, faults: Faults, period: Period, name: str) -> "_Options":
        short = faults.strike_request("archive_short", name)
        unit = faults.strike_request("archive_unit", name)
        usual = "us" if period.start_time >= MICROSECONDS_SINCE else "ms"
        return cls(
            days=int(short["days"]) if short is not None else 31,
            scale=1000 if (unit["unit"] if unit is not None else usual) == "us" else 1,
            has_header=faults.strike_request("archive_header", name) is not None,
        )


def period_of(period: str, symbol: str, interval: str, name: str) -> Period | None:
    """Return what a path of the archive means; None for one that has no file."""
    match = _NAME.fullmatch(name)
    if match is None or (match[1], match[2]) != (symbol, interval) or interval not in set(Timeframe):
        return None
    if SYMBOL_PATTERN.fullmatch(symbol) is None or (match[5] is None) != (period == "monthly"):
        return None
    try:
        first = date(int(match[3]), int(match[4]), int(match[5] or 1))
    except ValueError:
        return None
    if period not in ("monthly", "daily"):
        return None
    end = (first + timedelta(days=32)).replace(day=1) if period == "monthly" else first + timedelta(days=1)
    return Period(SeriesKey.of(symbol, interval), first, end)


def csv_of(candles: Candles, timeframe: Timeframe, *, scale: int) -> bytes:
    """Write candles as the archive does: 12 columns in REST's order, no header; ``scale`` units a millisecond."""
    flow = candles.flow if candles.flow is not None else Flow.unknown(len(candles))
    columns = [
        _whole(candles.open_time * scale),
        *(_decimal(getattr(candles, name)) for name in (*PRICE_COLUMNS, "volume")),
        _whole((candles.open_time + timeframe.milliseconds) * scale - 1),
        _decimal(flow.quote_volume),
        _whole(flow.trades.astype(np.int64)),
        _decimal(flow.taker_buy_base),
        _decimal(flow.taker_buy_quote),
        pa.scalar("0\n"),
    ]
    # The texts of a column lie one after the other in its buffer: with the line ends in them, that is the file.
    # Four times as fast as formatting row by row, half again as fast as pyarrow's writer.
    lines = pc.binary_join_element_wise(*columns, ",")
    return bytes(lines.buffers()[2]) if len(lines) else b""


def zipped(name: str, text: bytes) -> bytes:
    """Return a zip file with one member. The largest are stored as they are: deflating takes longer than all else."""
    file = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if len(text) <= _DEFLATED_BYTES else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w") as archive:
        # A fixed date: the same candles are the same bytes, so that a checksum stays true.
        archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), text, method, 1)
    return file.getvalue()


def _whole(values: TimeArray) -> pa.Array:
    return pa.array(values).cast(pa.string())


def _decimal(values: FloatArray) -> pa.Array:
    kind = _SHORT if values.max(initial=0.0) < _SHORT_LIMIT else _LONG
    return pa.array(values).cast(kind, safe=False).cast(pa.string())


def _spoiled(data: bytes) -> bytes:
    """Damage a zip file in its middle; its ends still look right."""
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0xA5 for byte in data[middle : middle + 16]) + data[middle + 16 :]


def _missing(request: Request) -> Response:
    return Response(_NO_KEY.format(key=request.url.path.lstrip("/")), status_code=404, media_type="application/xml")


def _time(day: date) -> int:
    return milliseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))
