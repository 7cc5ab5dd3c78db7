"""A client's connection to the streams: its subscriptions and the control messages of Binance's socket."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import orjson

from markets.replay.faults import Faults
from markets.replay.wire import Wire, text_frame
from markets.series import SYMBOL_PATTERN, SeriesKey, Timeframe

_ID = re.compile(r"[A-Za-z0-9]{1,36}", re.ASCII)
_NAME = re.compile(r"([a-z0-9]+)@kline_(\w+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Payload:
    """What a stream says once, as frames ready to send, plain and in the wrapper of combined streams."""

    plain: bytes
    combined: bytes

    @classmethod
    def of(cls, stream: str, data: bytes, *, spoil: Callable[[bytes], bytes] = bytes) -> "Payload":
        """Make the frames; ``spoil`` is done to each text before it becomes a frame."""
        combined = b'{"stream":"%s","data":%s}' % (stream.encode(), data)
        return cls(text_frame(spoil(data)), text_frame(spoil(combined)))


def series_of(stream: str) -> SeriesKey | None:
    """Return the series a stream name means; None for names that never have data, as wrong case is one."""
    match = _NAME.fullmatch(stream)
    if match is None or match[2] not in set(Timeframe) or SYMBOL_PATTERN.fullmatch(match[1].upper()) is None:
        return None
    return SeriesKey.of(match[1].upper(), match[2])


class BadRequestError(Exception):
    """A control message that is refused with one of Binance's codes 0 to 4."""

    def __init__(self, code: int, text: str, *, is_flat: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.is_flat = is_flat


@dataclass(eq=False, slots=True)
class Connection:
    """One client. ``on_change`` is called with the connection after its subscriptions changed.

    ``opened_at`` is exchange time. A stalled connection answers pings and messages, and carries no data.
    """

    wire: Wire
    is_combined: bool
    faults: Faults
    on_change: Callable[["Connection"], None]
    opened_at: int
    is_stalled: bool = False
    streams: dict[str, SeriesKey | None] = field(default_factory=dict)

    @property
    def series(self) -> list[SeriesKey]:
        return [series for series in self.streams.values() if series is not None]

    def send(self, payload: Payload) -> None:
        if not self.is_stalled:
            self.wire.write(payload.combined if self.is_combined else payload.plain)

    def say(self, message: dict[str, Any]) -> None:
        self.wire.write(text_frame(orjson.dumps(message)))

    def subscribe(self, names: Collection[str]) -> None:
        wanted = self.streams | {name: series_of(name) for name in names}
        limit = self.faults.setting("limits", "streams")
        if len(wanted) > limit:
            raise BadRequestError(4, f"Too many subscriptions: at most {limit} streams a connection")
        self.streams = wanted
        self.on_change(self)

    def handle(self, text: str) -> None:
        """Answer one control message."""
        request_id = None
        try:
            message = _parsed(text)
            request_id = _request_id(message)
            if message.get("method") == "SUBSCRIBE" and self.faults.strike("ignore_subscribe"):
                return
            self.say({"result": self._answer(message), "id": request_id})
        except BadRequestError as error:
            self._refuse(error, request_id)

    def _refuse(self, error: BadRequestError, request_id: int | str | None) -> None:
        # The documentation shows the flat form, recorded sessions the nested one (Krypto-trading-bot#1121).
        body: dict[str, Any] = {"code": error.code, "msg": str(error)}
        self.say(body | {"id": request_id} if error.is_flat else {"error": body, "id": request_id})

    def _answer(self, message: dict[str, Any]) -> Any:
        method, params = message.get("method"), message.get("params")
        if method == "SUBSCRIBE":
            fault = self.faults.strike("refuse_subscribe")
            if fault is not None:
                raise BadRequestError(int(fault["code"]), str(fault["msg"]), is_flat=fault["flat"])
            self.subscribe(_names(params))
            return None
        if method == "UNSUBSCRIBE":
            gone = set(_names(params))
            self.streams = {name: series for name, series in self.streams.items() if name not in gone}
            self.on_change(self)
            return None
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.streams)
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(method, params)
        raise BadRequestError(2, f"Invalid request: unknown variant `{str(method)[:40]}`")

    def _property(self, method: str, params: Any) -> bool | None:
        if not isinstance(params, list) or not params or params[0] != "combined":
            raise BadRequestError(0, "Unknown property")
        if method == "GET_PROPERTY":
            return self.is_combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise BadRequestError(1, "Invalid value type: expected Boolean")
        self.is_combined = params[1]
        return None


def _parsed(text: str) -> dict[str, Any]:
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(3, f"Invalid JSON: {error}") from None
    if not isinstance(message, dict):
        raise BadRequestError(2, "Invalid request: expected an object")
    return message


def _request_id(message: dict[str, Any]) -> int | str | None:
    request_id = message.get("id")
    if request_id is None or (isinstance(request_id, int) and not isinstance(request_id, bool)):
        return request_id
    if isinstance(request_id, str) and _ID.fullmatch(request_id):
        return request_id
    raise BadRequestError(2, "Invalid request: request ID must be an integer, an alphanumeric string or null")


def _names(params: Any) -> list[str]:
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
        raise BadRequestError(2, "Invalid request: missing field `params`, a list of stream names")
    if any("@" not in name and not name.startswith("!") for name in params):
        raise BadRequestError(2, "Invalid request: invalid stream")
    return params
