"""What a stream makes of frames that are broken, late, or not to be believed."""

import os
import time
from collections.abc import Iterator
from functools import partial

import pytest

from markets.series import SeriesKey
from tests.markets.exchanges.listening import BTC, ETH, MINUTE, Listener, listening, rises_by_minutes
from tests.replaying import START, LocalReplay, replay

IS_FULL = os.environ.get("SMC_FULL") == "1"
# 8 kinds, 50 frames at once: 10,000 frames beside 1,000 candles when all are asked for.
FRAMES, PORTIONS, VALID = (50, 25, 1_000) if IS_FULL else (50, 1, 200)


@pytest.fixture(scope="class")
def running() -> Iterator[tuple[LocalReplay, Listener]]:
    with replay(symbols=["BTCUSDT", "ETHUSDT"], speed=600.0) as market, listening(market, BTC, ETH) as heard:
        heard.until(START + MINUTE, BTC, ETH)
        yield market, heard


class TestBadFrames:
    """No bad frame ends the connection or becomes a candle. One stream hears them all, one kind after the other."""

    def check(self, running: tuple[LocalReplay, Listener], verb: str) -> list[int]:
        """Let the fault strike twice; return the times that were said of its pair since."""
        market, heard = running
        already = len(heard.times(BTC))
        number = market.fault(verb, symbol="BTCUSDT", count=2)["id"]
        heard.wait(lambda: next(each for each in market.faults() if each["id"] == number)["struck"] == 2)
        market.clear_faults(number)
        heard.until(heard.last(ETH) + 3 * MINUTE, ETH)
        heard.until(heard.last(ETH), BTC)
        assert rises_by_minutes(heard.times(ETH))
        said = heard.closed[BTC][already:]
        times = [event.candle.open_time for event in said]
        truth = {candle.open_time: candle for candle in market.oracle(BTC, min(times), max(times) + MINUTE)}
        assert all(truth[event.candle.open_time] == event.candle for event in said)
        assert heard.stream.health.reconnects == 0
        return times

    def test_dup_closed_idempotent(self, running: tuple[LocalReplay, Listener]) -> None:
        """F08."""
        assert rises_by_minutes(self.check(running, "dup"))

    def test_out_of_order(self, running: tuple[LocalReplay, Listener]) -> None:
        """F09: a candle of before is handed on, for it may be a late one; the store knows it already."""
        times = self.check(running, "old_bar")
        assert times != sorted(times)

    @pytest.mark.parametrize("verb", ["corrupt", "truncate", "bad_number"])
    def test_a_spoiled_frame_is_passed_over(self, running: tuple[LocalReplay, Listener], verb: str) -> None:
        times = self.check(running, verb)
        assert times == sorted(set(times))

    def test_ohlc_invariants(self, running: tuple[LocalReplay, Listener]) -> None:
        """F14: a high below the low."""
        times = self.check(running, "bad_ohlc")
        assert times == sorted(set(times))

    def test_off_grid(self, running: tuple[LocalReplay, Listener]) -> None:
        """F15: an open time 14 seconds off."""
        times = self.check(running, "offset")
        assert all(each % MINUTE == 0 for each in times)
        assert times == sorted(set(times))

    def test_future_candle_rejected(self, running: tuple[LocalReplay, Listener]) -> None:
        """F48: a closed candle of tomorrow is counted and never said."""
        _, heard = running
        before = heard.stream.health.rejected_candles
        times = self.check(running, "future")
        assert heard.stream.health.rejected_candles >= before + 2
        assert rises_by_minutes(times)


def test_ws_malformed_10k(caplog: pytest.LogCaptureFixture) -> None:
    """P09, F12: every broken frame is counted, every candle beside them is heard, and the log stays readable."""
    kinds = ("json", "truncated", "array", "scalar", "not_an_object", "empty", "nested", "binary")
    series = [SeriesKey.of(f"S{number}USDT", "1m") for number in range(50)]
    with replay(symbols=[each.symbol for each in series], speed=300.0) as market, listening(market, *series) as heard:
        heard.until(START, *series)
        first, began = max(heard.last(each) for each in series), time.monotonic()
        for kind in kinds * PORTIONS:
            wanted = heard.stream.health.rejected_frames + FRAMES
            market.fault("garbage", frames=FRAMES, kind=kind, seed=3, count=1)
            heard.wait(partial(_has_rejected, heard, wanted))
        heard.until(first + VALID // len(series) * MINUTE, *series)
        seconds = time.monotonic() - began
        assert heard.stream.health.rejected_frames == FRAMES * PORTIONS * len(kinds)
        assert heard.stream.health.reconnects == 0
        for each in series:
            times = heard.times(each)
            said = [event.candle for event in heard.closed[each]]
            assert said == list(market.oracle(each, times[0], times[-1] + MINUTE))
    complaints = [record for record in caplog.records if record.message == "frames rejected"]
    assert 1 <= len(complaints) <= seconds + 2


def _has_rejected(heard: Listener, frames: int) -> bool:
    return heard.stream.health.rejected_frames >= frames
