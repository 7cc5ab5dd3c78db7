"""Every fault that can be scripted: where it strikes, what it takes, how often it strikes unless told otherwise.

docs/replay.md tells them to the user; a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Place(StrEnum):
    """Where a fault strikes."""

    CONNECTION = "connection"  # at once, or with ``every`` after each so-manieth frame
    HANDSHAKE = "handshake"
    FRAME = "frame"
    EXTRA = "extra"  # frames of its own, at once
    REQUEST = "request"
    ARCHIVE = "archive"
    MARKET = "market"
    SETTING = "setting"


Default = bool | float | str | None


@dataclass(frozen=True, slots=True)
class Verb:
    """``arguments`` are names and defaults; a value must be of its default's type. ``count`` None: until cleared."""

    place: Place
    arguments: Mapping[str, Default] = field(default_factory=dict)
    count: int | None = 1


VERBS: Mapping[str, Verb] = {
    "rst": Verb(Place.CONNECTION),
    "drop": Verb(Place.CONNECTION),
    "close": Verb(Place.CONNECTION, {"code": 1001, "reason": "going away"}),
    "freeze": Verb(Place.CONNECTION, {"mid_frame": False}),
    "stall": Verb(Place.CONNECTION),
    "server_shutdown": Verb(Place.CONNECTION, {"seconds": 60}),
    "refuse": Verb(Place.HANDSHAKE, {"sockets_only": False}, count=None),
    "accept_close": Verb(Place.HANDSHAKE, {"code": 1001}, count=None),
    "refuse_subscribe": Verb(Place.HANDSHAKE, {"code": 2, "msg": "Invalid request: invalid stream", "flat": False}),
    "ignore_subscribe": Verb(Place.HANDSHAKE),
    "mute": Verb(Place.FRAME, count=None),
    "omit_close": Verb(Place.FRAME),
    "late_close": Verb(Place.FRAME, {"seconds": 30}),
    "dup": Verb(Place.FRAME, {"times": 1, "which": "closed"}),
    "reorder": Verb(Place.FRAME, {"by": 1, "which": "closed"}),
    "corrupt": Verb(Place.FRAME, {"which": "all"}),
    "truncate": Verb(Place.FRAME, {"which": "all"}),
    "bad_number": Verb(Place.FRAME, {"value": "NaN", "field": "c", "which": "closed"}),
    "bad_ohlc": Verb(Place.FRAME, {"which": "closed"}),
    "offset": Verb(Place.FRAME, {"seconds": 14, "which": "closed"}),
    "future": Verb(Place.FRAME, {"days": 1}),
    "old_bar": Verb(Place.FRAME, {"candles": 3, "which": "all"}),
    "burst": Verb(Place.FRAME, {"times": 20, "which": "all"}, count=None),
    "revise": Verb(Place.FRAME, {"change": 0.001, "seconds": 10, "where": "rest", "open_time": None}),
    "garbage": Verb(Place.EXTRA, {"frames": 20, "kind": "any", "seed": 1}),
    "http": Verb(Place.REQUEST, {"status": 503, "retry_after": None, "body": None}),
    "timeout": Verb(Place.REQUEST, {"seconds": 60}),
    "slow": Verb(Place.REQUEST, {"bytes_per_second": 1}),
    "cut": Verb(Place.REQUEST, {"share": 0.5}),
    "bad_body": Verb(Place.REQUEST, {"kind": "html"}),
    "wrong_unit": Verb(Place.REQUEST),
    "archive_missing": Verb(Place.ARCHIVE, count=None),
    "archive_corrupt": Verb(Place.ARCHIVE, count=None),
    "archive_checksum": Verb(Place.ARCHIVE, {"missing": False}, count=None),
    "archive_short": Verb(Place.ARCHIVE, {"days": 7}, count=None),
    "archive_header": Verb(Place.ARCHIVE, count=None),
    "archive_unit": Verb(Place.ARCHIVE, {"unit": "us"}, count=None),
    "hole": Verb(Place.MARKET, {"minutes": 30}, count=None),
    "delist": Verb(Place.MARKET, {"how": "break"}, count=None),
    "settle": Verb(Place.MARKET, {"seconds": 3}, count=None),
    "lag": Verb(Place.MARKET, {"seconds": 5}, count=None),
    "skew": Verb(Place.SETTING, {"seconds": 2.0}, count=None),
    "lifetime": Verb(Place.SETTING, {"hours": 24.0}, count=None),
    "limits": Verb(Place.SETTING, {"weight": 6000, "streams": 1024, "messages": 5}, count=None),
}

CHOICES: Mapping[str, tuple[str, ...]] = {
    "which": ("closed", "forming", "all"),
    "where": ("rest", "stream"),
    "how": ("break", "removed"),
    "unit": ("ms", "us"),
    "garbage.kind": (
        "any", "json", "truncated", "array", "scalar", "missing", "type", "unknown", "not_an_object", "empty", "nested",
        "binary", "huge", "utf8",
    ),
    "bad_body.kind": ("html", "truncated", "empty", "scalar", "object", "nested", "huge", "gzip_bomb"),
}  # fmt: skip
