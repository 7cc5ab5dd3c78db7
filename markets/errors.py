"""Every error of our own, split by what the caller can do about it.

SmcError
├── InvalidInputError            fix the request
│   ├── InvalidCandlesError      the candles break a rule of ``Candles``
│   ├── UnknownSymbolError       no such pair; carries near matches
│   ├── UnknownTimeframeError    not one of ours
│   ├── NoCandlesError           valid request, nothing stored for it
│   └── TooLargeError            over a cap, which the message names
├── ConflictError                the thing is not in a state that allows this
├── JobCancelledError            the job's work is to stop: cancelled, or another worker has it
├── NotFoundError                no such thing under that id
├── ExchangeError                give up and tell someone
│   ├── GeoBlockedError          the exchange refuses this location
│   ├── BadAnswerError           an answer that is not what the protocol says
│   └── ExchangeUnavailableError retry later
│       └── RateLimitedError     retry after ``retry_after_seconds``
├── StoreError                   the disk or a file on it
│   ├── StoreFullError           no space left: reads go on, writes stop
│   ├── OvertakenError           another process took over what was being written
│   ├── CorruptFileError         a damaged file; it is quarantined
│   └── ForeignFileError         a file that is not ours
├── ServiceUnavailableError      a part of the service is down: retry later
└── FencedError                  another process leads now: stop writing
"""

from collections.abc import Iterable


class SmcError(Exception):
    """Base of all errors a caller of this project may want to catch."""

    code = "error"
    title = "Something went wrong"


class InvalidInputError(SmcError):
    """The request cannot be met as it stands; ``field`` names what to change."""

    code = "invalid-input"
    title = "Invalid input"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class InvalidCandlesError(InvalidInputError):
    code = "invalid-candles"
    title = "Invalid candles"


class UnknownSymbolError(InvalidInputError):
    """No such pair. ``near`` holds symbols the caller may have meant."""

    code = "unknown-symbol"
    title = "Unknown symbol"

    def __init__(self, symbol: str, *, near: Iterable[str] = ()) -> None:
        self.near = list(near)
        hint = f"; did you mean {', '.join(self.near)}?" if self.near else ""
        super().__init__(f"unknown symbol {symbol!r}{hint}", field="symbol")


class UnknownTimeframeError(InvalidInputError):
    code = "unknown-timeframe"
    title = "Unknown timeframe"


class NoCandlesError(InvalidInputError):
    code = "no-candles"
    title = "No candles"


class TooLargeError(InvalidInputError):
    code = "too-large"
    title = "Too large"


class ConflictError(SmcError):
    code = "conflict"
    title = "Conflict"


class JobCancelledError(SmcError):
    code = "job-cancelled"
    title = "The job was cancelled"


class NotFoundError(SmcError):
    code = "not-found"
    title = "Not found"


class ExchangeError(SmcError):
    code = "exchange"
    title = "The exchange refused"


class GeoBlockedError(ExchangeError):
    code = "geo-blocked"
    title = "The exchange refuses this location"


class BadAnswerError(ExchangeError):
    code = "bad-answer"
    title = "The exchange gave an answer that makes no sense"


class ExchangeUnavailableError(ExchangeError):
    code = "exchange-unavailable"
    title = "The exchange cannot be reached"


class RateLimitedError(ExchangeUnavailableError):
    """The exchange asked us to wait ``retry_after_seconds`` (real seconds)."""

    code = "rate-limited"
    title = "The exchange asked us to wait"

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class StoreError(SmcError):
    code = "store"
    title = "The store failed"


class StoreFullError(StoreError):
    code = "store-full"
    title = "The disk is full"


class OvertakenError(StoreError):
    code = "overtaken"
    title = "Another process writes this"


class CorruptFileError(StoreError):
    code = "corrupt-file"
    title = "A stored file is damaged"


class ForeignFileError(StoreError):
    code = "foreign-file"
    title = "A file in the store is not ours"


class ServiceUnavailableError(SmcError):
    code = "unavailable"
    title = "A part of the service is down"


class FencedError(SmcError):
    code = "fenced"
    title = "Another process leads now"
