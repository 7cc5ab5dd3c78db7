"""What Binance sends over a stream, read into values. The exchange's words (kline, x) stop here."""

from dataclasses import dataclass
from typing import Any

import orjson

from markets.candles import Candle, CandleFlow
from markets.errors import InvalidInputError
from markets.exchanges.wire import STREAM_NAMES, MalformedError, read_candle, read_time
from markets.series import SeriesKey

# A candle's frame has some 400 bytes, the answer to LIST_SUBSCRIPTIONS at most 25 kB.
FRAME_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class CandleFrame:
    """A candle of a series, forming or closed; ``event_time`` is the exchange's clock, UTC ms."""

    series: SeriesKey
    candle: Candle
    flow: CandleFlow
    is_closed: bool
    event_time: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to our request ``request_id`` (None when it has none); ``error`` is empty when it was granted."""

    request_id: int | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The server is about to end this connection."""


@dataclass(frozen=True, slots=True)
class Unasked:
    """A sound message about something that we do not follow."""


Frame = CandleFrame | Reply | Shutdown | Unasked


def stream_name(series: SeriesKey) -> str:
    """Return the exchange's name for the stream of ``series``; it must be in lower case, or nothing ever comes."""
    return f"{series.symbol.lower()}@kline_{series.timeframe.value}"


def request(method: str, series: list[SeriesKey], request_id: int) -> str:
    """Return the text of a SUBSCRIBE or UNSUBSCRIBE."""
    body = {"method": method, "params": [stream_name(each) for each in series], "id": request_id}
    return orjson.dumps(body).decode()


def read_frame(raw: bytes) -> Frame:
    """Read one message, bare or wrapped with its stream's name.

    Raises
    ------
    MalformedError
        It is no JSON object, too long, or a field is missing or of the wrong type.
    ImpossibleCandleError
        No candle can have these values.
    """
    if len(raw) > FRAME_LIMIT:
        raise MalformedError(f"{len(raw):,} bytes")
    try:
        message = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedError(str(error)) from None
    if not isinstance(message, dict):
        raise MalformedError("not an object")
    if "stream" in message:
        return _read_event(message.get("data"))
    if "result" in message or "error" in message or "code" in message:
        return _read_reply(message)
    return _read_event(message)


def _read_event(event: Any) -> Frame:
    if not isinstance(event, dict) or type(event.get("e", "")) is not str:
        raise MalformedError("not an event")
    kind = event.get("e")
    if kind == "kline":
        return _read_kline(event)
    if kind == "serverShutdown":
        return Shutdown()
    if kind is None and not {"u", "s"} <= event.keys():  # the best bid and ask come without a kind
        raise MalformedError("an event without a kind")
    return Unasked()


def _read_kline(event: dict[str, Any]) -> Frame:
    kline = event.get("k")
    if not isinstance(kline, dict):
        raise MalformedError("a candle without values")
    symbol, interval = kline.get("s"), kline.get("i")
    if type(symbol) is not str or type(interval) is not str or event.get("s") != symbol:
        raise MalformedError("a candle without a name")
    event_time, is_closed = read_time(event.get("E")), kline.get("x")
    if type(is_closed) is not bool or read_time(kline.get("T")) < read_time(kline.get("t")):
        raise MalformedError("a candle without an end")
    try:
        series = SeriesKey.of(symbol, interval)
    except InvalidInputError:
        return Unasked()
    candle, flow = read_candle(kline, STREAM_NAMES, series.timeframe)
    # Binance repeats the forming candle every 1 or 2 s; "x" is true on the frame that closes it.
    # binance-spot-api-docs, web-socket-streams.md, "Kline/Candlestick Streams for UTC"
    return CandleFrame(series, candle, flow, is_closed, event_time)


def _read_reply(message: dict[str, Any]) -> Reply:
    """Read a reply; errors come flat ({"code", "msg"}) by the documents, and nested under "error" in the field."""
    request_id = message.get("id")
    if request_id is not None and type(request_id) is not int:
        raise MalformedError(f"not an id of ours: {request_id!r:.40}")
    error = message.get("error", message if "code" in message else None)
    if error is None:
        return Reply(request_id)
    if not isinstance(error, dict):
        raise MalformedError("an error without a code")
    return Reply(request_id, f"{error.get('code')}: {error.get('msg', '')}"[:300])
