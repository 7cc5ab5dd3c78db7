"""What goes wrong at an exchange, and the feed that goes on: every part is real, only the faults are made."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from django.conf import settings
from django.test import Client
from django.utils import timezone

from markets.exchanges import binance_stream
from markets.exchanges.binance_stream import BinanceStream
from markets.models import ExchangeGap, Series
from markets.replay.wire import Wire
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services import recording
from markets.services.backfilling import PROOF_AFTER
from signals.feed import feed as feed_module
from signals.feed import followed as followed_module
from signals.feed import series as series_module
from signals.feed.vitals import Vitals
from tests.databases import copied_database
from tests.replaying import START, LocalReplay, replay
from tests.signals.feed.following import MINUTE, Following, following
from tests.signals.feed.processes import check_all

BTC, ETH = SeriesKey.of("BTCUSDT", "1m"), SeriesKey.of("ETHUSDT", "1m")
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]


@pytest.fixture
def market() -> Iterator[LocalReplay]:
    with replay(symbols=["BTCUSDT", "ETHUSDT"], speed=300.0) as exchange:
        yield exchange


@pytest.fixture
def folder(data_root: Path) -> Iterator[Path]:
    with copied_database(data_root):
        yield data_root


@pytest.fixture
def rig(folder: Path, market: LocalReplay, monkeypatch: pytest.MonkeyPatch) -> Iterator[Following]:
    monkeypatch.setattr(feed_module, "_RECONCILE_SECONDS", 0.1)
    with following(folder, market, "BTCUSDT", "ETHUSDT") as found:
        yield found


def last(series: SeriesKey) -> int:
    return candle_store().last_time(series) or 0


def test_gap_backfill_after_reconnect(rig: Following, market: LocalReplay) -> None:
    """F06: what closed without a connection is told as missing meanwhile, then fetched, and its signals are late."""
    rig.start()
    rig.until_stored(START + 2 * MINUTE)
    market.fault("refuse", sockets_only=True)
    market.fault("rst")
    rig.until(lambda: rig.status()["connections"] == 0)
    cut = market.time()
    market.wait_until(cut + 8 * MINUTE)
    held = last(BTC)
    assert held < cut
    assert rig.state(BTC) in ("stale", "catching_up")
    market.clear_faults()
    rig.until_stored(cut + 9 * MINUTE)
    rig.until_live()
    rig.finish()
    assert check_all(rig, market) > 0
    outage = [row for each in rig.series for row in rig.ledger(each) if held < row["confirm_time"] < cut + 7 * MINUTE]
    assert all(row["is_late"] for row in outage)


def test_a_series_that_waits_for_a_candle_says_so_to_all_who_might_judge_it(
    rig: Following, market: LocalReplay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F51: until the candle has come, or is proven to be none."""

    def held(series: SeriesKey) -> int | None:
        return Series.objects.get(pair__symbol=series.symbol, timeframe="1m").held_from

    monkeypatch.setattr(followed_module, "_GAP_SECONDS", 0.1)
    market.fault("hole", at=START + 5 * MINUTE, minutes=2, symbol="BTCUSDT")
    rig.start()
    rig.until(lambda: held(BTC) == START + 5 * MINUTE)
    assert rig.state(BTC) == "gapped"
    assert held(ETH) is None
    rig.until(ExchangeGap.objects.exists)
    ExchangeGap.objects.update(first_read_at=timezone.now() - 2 * PROOF_AFTER)
    rig.until(lambda: held(BTC) is None)
    rig.until_live(BTC)


def test_a_ban_ends_no_stream(rig: Following, market: LocalReplay) -> None:
    """F28: what closes while the exchange answers no questions for hours is stored, judged and told as it comes."""
    market.set_clock(now=START + 60 * MINUTE + 30_000, speed=0)
    rig.start()
    rig.until_live()
    made = market.status()["connections_made"]
    market.fault("http", status=418, retry_after=7_200, path="klines", count=None)
    market.fault("rst")
    rig.until(lambda: market.status()["connections_made"] > made)
    rig.until(lambda: all("until 20" in rig.status(each)["error"] for each in rig.series))
    began = market.time()
    market.set_clock(speed=300)
    rig.until_stored(began + 10 * MINUTE)
    feed = rig.feed
    assert feed is not None
    rig.until(lambda: all((feed.series[each].through or 0) >= began + 9 * MINUTE for each in rig.series))
    assert rig.status()["state"] == "live"
    for each in rig.series:
        told = rig.status(each)
        assert told["state"] == "live"
        assert "until 20" in told["error"]
        kept = candle_store().read(each, start=began, end=began + 10 * MINUTE)
        assert [*kept] == [*market.oracle(each, began, began + 10 * MINUTE)]


def test_missing_close_event(rig: Following, market: LocalReplay) -> None:
    """F10: candles whose closing frame never comes are asked for by REST; the forming ones are no guess at them."""
    rig.start()
    rig.until_stored(START + MINUTE)
    number = market.fault("omit_close", symbol="BTCUSDT", count=None)["id"]
    moment = market.time() + MINUTE
    rig.until_stored(moment + 2 * MINUTE, BTC)
    assert next(each for each in market.faults() if each["id"] == number)["struck"] >= 2
    assert rig.status()["reconnects"] == 0
    rig.finish()
    check_all(rig, market)


def test_snapshot_subscribe_race(rig: Following, market: LocalReplay, monkeypatch: pytest.MonkeyPatch) -> None:
    """F07: candles that close after REST was asked and before the stream speaks, and while REST answers."""
    monkeypatch.setattr(feed_module, "_CONNECT_PATIENCE", 0.0)
    market.set_clock(now=START + 10_000, speed=0)
    market.fault("refuse", sockets_only=True)
    rig.start()
    rig.until_stored(START - MINUTE)
    market.set_clock(now="+3m")  # nobody is told of what a jump passes
    ask, jumped = rig.client.candles, threading.Event()

    def ask_and_jump(*arguments: Any, **options: Any) -> Any:
        page = ask(*arguments, **options)
        if not jumped.is_set():
            jumped.set()
            market.set_clock(now="+2m")
        return page

    monkeypatch.setattr(rig.client, "candles", ask_and_jump)
    market.clear_faults()
    rig.until(jumped.is_set)
    market.set_clock(speed=300)
    rig.until_stored(START + 8 * MINUTE)
    rig.finish()
    check_all(rig, market)


@pytest.mark.parametrize("how", ["break", "removed"])
def test_symbol_delisted(rig: Following, market: LocalReplay, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """F16: a pair that is not traded any more is told as halted; the other one does not notice."""
    monkeypatch.setattr(feed_module, "_PAIRS_SECONDS", 0.2)
    monkeypatch.setattr(feed_module, "_PAIRS_PATIENCE", 0.1)
    rig.start()
    rig.until_stored(START + MINUTE)
    market.fault("delist", symbol="BTCUSDT", how=how)
    rig.until(lambda: rig.state(BTC) == "halted")
    rig.until_stored(market.time() + MINUTE, ETH)
    rig.until_live(ETH)
    rig.until(lambda: rig.state(BTC) == "halted")
    assert rig.status()["reconnects"] == 0
    market.set_clock(speed=0)
    rig.stop()
    assert list(rig.candles(ETH)) == list(market.oracle(ETH, START - 200 * MINUTE, last(ETH) + 1))


def test_a_pair_the_exchange_does_not_know_says_so_where_it_is_followed(
    folder: Path, market: LocalReplay, client: Client
) -> None:
    """The others do not notice, and what was noted goes when it is mended."""
    with following(folder, market, "BTCUSDT", "NOSUCHUSDT") as rig:
        unknown = Series.objects.get(pair__symbol="NOSUCHUSDT")
        Series.objects.filter(pair__symbol="BTCUSDT").update(error="of a former start")
        rig.start()
        rig.until_live(BTC)
        rig.until(lambda: Series.objects.get(pk=unknown.pk).error)
        rig.until(lambda: not Series.objects.get(pair__symbol="BTCUSDT").error)
        page = client.get("/web/pairs").content.decode()
        assert "UnknownSymbolError" in page
        assert "NOSUCHUSDT" in page
        assert "of a former start" not in page


def slowed(monkeypatch: pytest.MonkeyPatch, pause: Callable[[], object]) -> None:
    """Let each commit of live candles wait."""
    record = recording.record

    def slow(*arguments: Any, **options: Any) -> Any:
        pause()
        return record(*arguments, **options)

    monkeypatch.setattr(series_module, "record", slow)


def test_backpressure_bounded(rig: Following, market: LocalReplay, monkeypatch: pytest.MonkeyPatch) -> None:
    """F18: frames come faster than they are read and stored: what waits is bounded, and no candle is lost."""
    monkeypatch.setattr(binance_stream, "_INBOX_LIMIT", 50)
    read = BinanceStream._read

    def read_slowly(*arguments: Any) -> None:
        time.sleep(0.002)
        read(*arguments)

    monkeypatch.setattr(BinanceStream, "_read", read_slowly)
    slowed(monkeypatch, lambda: time.sleep(0.05))
    rig.start()
    rig.until_stored(START + MINUTE)
    market.fault("burst", times=100)
    most = 0

    def has_seen_enough() -> bool:
        nonlocal most
        most = max(most, rig.status()["queue_depth"])
        return int(market.status()["frames_sent"]) > 1_000

    rig.until(has_seen_enough)
    assert 10 < most < 200
    market.clear_faults()
    rig.until_stored(market.time() + MINUTE)
    assert rig.status()["lag_ms"]["p50"] >= 50
    rig.finish()
    check_all(rig, market)


def test_pong_during_slow_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F22: while a commit hangs the exchange's pings are answered, and the delay is told."""
    make, pongs = uvicorn.Config, threading.Semaphore(0)
    monkeypatch.setattr(uvicorn, "Config", lambda *args, **options: make(*args, **{**options, "ws_ping_interval": 0.4}))
    answer = Wire.handle_pong

    def count(self: Wire, event: Any) -> None:
        pongs.release()
        answer(self, event)

    monkeypatch.setattr(Wire, "handle_pong", count)
    hangs, goes_on = threading.Event(), threading.Event()
    with (
        replay(symbols=["BTCUSDT"], speed=300.0) as market,
        following(folder, market, "BTCUSDT") as rig,
    ):
        rig.start()
        rig.until_stored(START + MINUTE)

        def hang() -> None:
            hangs.set()
            assert goes_on.wait(60)

        slowed(monkeypatch, hang)
        rig.until(hangs.is_set)
        began = time.monotonic()
        while pongs.acquire(blocking=False):
            pass
        for _ in range(3):
            assert pongs.acquire(timeout=30)
        hung = (time.monotonic() - began) * 1000
        goes_on.set()
        rig.until_stored(market.time() + MINUTE)
        assert max(rig.vitals.lags) >= hung
        assert rig.status()["reconnects"] == 0
        assert market.status()["connections_made"] == 1
        rig.finish()
        check_all(rig, market)


def test_warmup_state(rig: Following, market: LocalReplay) -> None:
    """F52: a series with few candles says how many it has of those it needs."""
    market.set_clock(now=START + 10_000, speed=0)
    Series.objects.filter(pair__symbol="BTCUSDT").update(history_from=START - 37 * MINUTE)
    rig.start()
    rig.until_live()
    assert rig.status(BTC)["stage"] == "warming up 37/101"
    assert rig.status(ETH)["stage"] == ""
    market.set_clock(now="+64m", speed=300)
    rig.until_stored(START + 64 * MINUTE)
    rig.until(lambda: rig.status(BTC)["stage"] == "")


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a way to set this process's time zone."""

    def change(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


def test_clock_skew_invariant(tmp_path: Path, zone: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """P10: whatever our clock and zone say, candles and signals are the same; a clock that is wrong is told."""
    found = []
    for seconds, name, said in (
        (-120, "America/New_York", "clock is 120 s behind the exchange's"),
        (1, "UTC", ""),
        (120, "Asia/Kolkata", "clock is 120 s ahead of the exchange's"),
    ):
        zone(name)
        folder = tmp_path / f"{seconds}"
        folder.mkdir()
        with monkeypatch.context() as patched, replay(symbols=["BTCUSDT"], speed=0, start=START + 10_000) as market:
            ours = partial(_skewed, market, seconds * 1_000)
            patched.setattr(settings, "DATA_ROOT", folder)
            patched.setattr(time, "time", lambda ours=ours: ours() / 1000)
            patched.setattr(time, "time_ns", lambda ours=ours: ours() * 1_000_000)
            patched.setattr(timezone, "now", lambda ours=ours: datetime.fromtimestamp(ours() / 1000, UTC))
            candle_store.cache_clear()
            with copied_database(folder), following(folder, market, "BTCUSDT") as rig:
                found.append(_followed(rig, market, said))
    candle_store.cache_clear()
    assert found[0][1]
    assert found[0] == found[1] == found[2]


def _skewed(market: LocalReplay, milliseconds: int) -> int:
    return market.time() + milliseconds


def _followed(rig: Following, market: LocalReplay, said: str) -> tuple[str, list[tuple[Any, ...]]]:
    """Follow some minutes; return the digest of the candles and the ledger's rows without the times of our clock."""
    rig.start()
    rig.until_live()
    market.set_clock(speed=600)
    rig.until_stored(START + 8 * MINUTE)
    market.set_clock(speed=0)
    rig.vitals = Vitals()
    rig.vitals.note_time(market.time())
    assert said in rig.status()["error"]
    assert bool(said) == bool(rig.status()["error"])
    rig.finish()
    check_all(rig, market)
    ours = ("id", "published_at", "latency_ms", "is_late")
    rows = [row for row in rig.ledger(BTC) if row["confirm_time"] < START + 8 * MINUTE]
    kept = [tuple(row[key] for key in row.keys() if key not in ours) for row in rows]  # noqa: SIM118 - a Row
    return candle_store().digest(BTC, start=None, end=START + 8 * MINUTE), kept
