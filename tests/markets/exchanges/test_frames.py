"""Frames as they were recorded, and as nobody should send them."""

import gzip
import json
import os
import random
from contextlib import suppress

import orjson
import pytest

from markets.exchanges.binance_frames import CandleFrame, Reply, read_frame, request, stream_name
from markets.exchanges.wire import ImpossibleCandleError, MalformedError
from markets.series import SeriesKey
from tests.factories import shared_file

MUTANTS = 10_000 if os.environ.get("SMC_FULL") else 2_000
FRAME = {
    "stream": "btcusdt@kline_1m",
    "data": {
        "e": "kline", "E": 1700000060001, "s": "BTCUSDT",
        "k": {
            "t": 1700000040000, "T": 1700000099999, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 9, "o": "100.0",
            "c": "101.0", "h": "102.0", "l": "99.0", "v": "7.5", "n": 9, "x": True, "q": "757.5",
            "V": "3.5", "Q": "353.5", "B": "0",
        },
    },
}  # fmt: skip


def recorded(name: str) -> list[bytes]:
    """Return the messages of a recording; its lines begin with the time of receipt."""
    lines = gzip.decompress(shared_file(f"recorded/{name}").read_bytes()).decode().splitlines()
    found = [line.partition(": ")[2] or line for line in lines]
    return [text.encode() for text in found if text.startswith("{")]


@pytest.mark.parametrize(
    ("name", "candles", "closed"),
    [
        ("cryptofeed.BINANCE.ws.1.0.txt.gz", 2, 0),
        ("cryptofeed.BINANCE_US.ws.1.0.txt.gz", 5, 1),
        ("cryptofeed.BINANCE_TR.ws.1.0.txt.gz", 8, 4),
    ],
)
def test_recorded_frames_are_read_as_what_they_were(name: str, candles: int, closed: int) -> None:
    found = [read_frame(raw) for raw in recorded(name)]
    frames = [frame for frame in found if isinstance(frame, CandleFrame)]
    assert (len(frames), sum(frame.is_closed for frame in frames)) == (candles, closed)
    assert all(frame.candle.low <= frame.candle.close <= frame.candle.high for frame in frames)


def test_single_recorded_frames_are_read_or_refused_by_name() -> None:
    lines = shared_file("recorded/unicorn-fy.ws_frames.jsonl").read_text().splitlines()
    read = 0
    for line in lines:
        with suppress(MalformedError, ImpossibleCandleError):
            read += isinstance(read_frame(line.encode()), CandleFrame)
    assert read == 2


def test_a_sound_frame_is_read_bare_or_wrapped() -> None:
    for message in (FRAME, FRAME["data"]):
        frame = read_frame(orjson.dumps(message))
        assert isinstance(frame, CandleFrame)
        assert frame.series == SeriesKey.of("BTCUSDT", "1m")
        assert frame.candle == (1700000040000, 100.0, 102.0, 99.0, 101.0, 7.5)
        assert (frame.is_closed, frame.event_time, frame.flow.trades) == (True, 1700000060001, 9.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"t": 1700000040001}, "off_grid"),
        ({"l": "0.0"}, "ohlc"),
        ({"l": "100.5"}, "ohlc"),
        ({"h": "100.5"}, "ohlc"),
        ({"v": "NaN"}, "number"),
    ],
)
def test_what_no_candle_can_be_is_refused_by_its_reason(changes: dict[str, object], reason: str) -> None:
    bent = json.loads(orjson.dumps(FRAME))
    bent["data"]["k"] |= changes
    with pytest.raises(ImpossibleCandleError, match=f"^{reason}$"):
        read_frame(orjson.dumps(bent))


def test_replies_tell_what_they_answer() -> None:
    assert read_frame(b'{"result":null,"id":7}') == Reply(7)
    refused = read_frame(b'{"error":{"code":2,"msg":"Invalid request"},"id":7}')
    assert isinstance(refused, Reply)
    assert refused.request_id == 7
    assert "Invalid request" in refused.error


def test_requests_name_streams_in_lower_case() -> None:
    asked = json.loads(request("SUBSCRIBE", [SeriesKey.of("BTCUSDT", "15m")], 3))
    assert asked == {"method": "SUBSCRIBE", "params": ["btcusdt@kline_15m"], "id": 3}
    assert stream_name(SeriesKey.of("ETHUSDT", "1d")) == "ethusdt@kline_1d"


def test_a_broken_frame_is_refused_by_name_and_never_read_as_another_candle() -> None:
    """Bytes changed, cut out, doubled at random: refused, or read as something that is no candle of other values."""
    sound, rng = orjson.dumps(FRAME), random.Random(11)
    print("seed 11")
    refused = 0
    for _ in range(MUTANTS):
        raw = bytearray(sound)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(raw))
            match rng.randrange(3):
                case 0:
                    raw[at] = rng.randrange(256)
                case 1:
                    del raw[at : at + rng.randint(1, 30)]
                case _:
                    raw[at:at] = raw[at : at + rng.randint(1, 30)]
        try:
            frame = read_frame(bytes(raw))
        except (MalformedError, ImpossibleCandleError):
            refused += 1
        else:
            if isinstance(frame, CandleFrame):
                assert 0 < frame.candle.low <= frame.candle.open <= frame.candle.high
    assert refused > MUTANTS // 2


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[]", b'"x"', b"1", b"{", b"\xff\xfe", b"[" * 100_000, b"{" + b" " * 70_000 + b"}"]
)
def test_what_is_no_object_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        read_frame(raw)


@pytest.mark.parametrize("value", ["NaN", "inf", "1e5", "-1", "+1", "1_0", "٣", "", " 1", "0x1"])
def test_numeric_strict(value: str) -> None:
    """F13: a price that is no plain decimal is none."""
    bent = json.loads(orjson.dumps(FRAME))
    bent["data"]["k"]["c"] = value
    with pytest.raises(ImpossibleCandleError):
        read_frame(orjson.dumps(bent))
