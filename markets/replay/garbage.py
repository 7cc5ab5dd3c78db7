"""Frames that are not what the protocol says, made from a seed."""

import random
from collections.abc import Callable, Iterator

import orjson

from markets.replay.wire import binary_frame, text_frame

_MEBIBYTE = 1024 * 1024
_WRONG: list[object] = [None, [], {}, True, "x", -1, 1e400, [1, 2], "１２３", "1_000", "", "Infinity", "-1"]


def garbage(kind: str, *, seed: int) -> Iterator[bytes]:
    """Return endless frames of one kind, or of any kind but those that end a connection or fill the memory."""
    generator = random.Random(seed)  # noqa: S311 - no secret
    kinds = [name for name in _MAKERS if name not in ("huge", "utf8")] if kind == "any" else [kind]
    while True:
        yield _MAKERS[generator.choice(kinds)](generator)


def _kline(generator: random.Random) -> dict[str, object]:
    price = f"{generator.uniform(1, 1e5):.8f}"
    kline: dict[str, object] = {
        "t": 1_700_000_040_000,
        "T": 1_700_000_099_999,
        "s": "BTCUSDT",
        "i": "1m",
        "f": 1,
        "L": 2,
    }
    kline |= dict.fromkeys("ochl", price) | {
        "v": "1.0",
        "n": 2,
        "x": True,
        "q": price,
        "V": "0.5",
        "Q": price,
        "B": "0",
    }
    return kline


def _text(kline: object) -> bytes:
    event = {"e": "kline", "E": 1_700_000_100_000, "s": "BTCUSDT", "k": kline}
    return text_frame(orjson.dumps({"stream": "btcusdt@kline_1m", "data": event}))


def _missing(generator: random.Random) -> bytes:
    kline = _kline(generator)
    del kline[generator.choice(list(kline))]
    return _text(kline)


def _type(generator: random.Random) -> bytes:
    wrong = generator.choice(_WRONG)
    return _text(_kline(generator) | {generator.choice("tTsiochlvnxqVQ"): wrong})


def _json(generator: random.Random) -> bytes:
    return text_frame(bytes(generator.choices(b'{}[]":,abc0129.eE-+ \\', k=generator.randint(1, 300))))


def _truncated(generator: random.Random) -> bytes:
    text = orjson.dumps({"stream": "btcusdt@kline_1m", "data": {"e": "kline", "k": _kline(generator)}})
    return text_frame(text[: generator.randint(1, len(text) - 1)])


def _array(generator: random.Random) -> bytes:
    return text_frame(orjson.dumps([generator.randint(0, 9) for _ in range(generator.randint(0, 50))]))


def _scalar(generator: random.Random) -> bytes:
    return text_frame(generator.choice([b"null", b"42", b'"text"', b"true", b"1e999", b"-0"]))


def _unknown(generator: random.Random) -> bytes:
    return text_frame(orjson.dumps({"e": generator.choice(["trade", "depthUpdate", "", "x" * 999]), "s": 1}))


def _not_an_object(generator: random.Random) -> bytes:
    return _text(generator.choice([None, [], "kline", 7, {"t": {}}]))


_MAKERS: dict[str, Callable[[random.Random], bytes]] = {
    "json": _json,
    "truncated": _truncated,
    "array": _array,
    "scalar": _scalar,
    "missing": _missing,
    "type": _type,
    "unknown": _unknown,
    "not_an_object": _not_an_object,
    "empty": lambda generator: text_frame(b""),
    "nested": lambda generator: text_frame(b"[" * 100_000),
    "binary": lambda generator: binary_frame(generator.randbytes(generator.randint(0, 500))),
    "huge": lambda generator: text_frame(b'"' + b"x" * 5 * _MEBIBYTE + b'"'),
    "utf8": lambda generator: text_frame(b'{"e":"\xff\xfe\xc3"}'),
}
