"""A replay exchange for tests: a real server on a free port, in a thread of the test's own process.

::

    with replay(symbols=["BTCUSDT"], speed=60) as exchange:
        BinanceExchange(exchange.url, exchange.ws_url, exchange.url, ...)
        exchange.fault("rst")
        exchange.wait_until(START + 60_000)
        expected = exchange.oracle(series, start, end)

``replay_process`` runs the command instead, for tests that kill or stop it.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from markets.candles import Candles
from markets.exchanges.stream_timing import StreamTiming
from markets.replay.clock import VirtualClock
from markets.replay.faults import Faults
from markets.replay.market import Market
from markets.replay.scripted import ScriptedMarket
from markets.replay.server import ReplayExchange, listening_socket, make_server
from markets.replay.synthetic import SyntheticMarket
from markets.series import SeriesKey
from tests.waiting import eventually

START = 1_717_243_200_000  # 2024-06-01T12:00:00Z
DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
# How patient a stream is with an exchange on this machine, whose faults end in moments.
QUICK = StreamTiming(
    send_gap_seconds=0.02,
    backoff_first_seconds=0.05,
    backoff_cap_seconds=0.1,
    open_seconds=2.0,
    reply_seconds=0.5,
    proven_seconds=0.2,
    overdue_seconds=0.2,
    takeover_seconds=0.5,
    connects=10_000,
)
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Replay:
    """A running exchange: its addresses, its clock, its faults, and the truth of its market."""

    port: int
    market: ScriptedMarket
    scheme: str = ""

    @property
    def url(self) -> str:
        return f"http{self.scheme}://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws{self.scheme}://127.0.0.1:{self.port}"

    def time(self) -> int:
        """Return the exchange's true time, UTC ms."""
        return int(self._ask("GET", "clock")["now"])

    def set_clock(self, *, now: int | str | None = None, speed: float | None = None) -> None:
        """Set the exchange's time (UTC ms, or +5m) or its speed (0 stands still). A jump is not streamed."""
        self._ask("POST", "clock", {"now": now, "speed": speed})

    def fault(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Script a fault (docs/replay.md has the verbs) and return it with its id."""
        told: dict[str, Any] = self._ask("POST", "faults", {"verb": verb, **arguments})
        return told

    def faults(self) -> list[dict[str, Any]]:
        """Return all faults; ``struck`` counts how often each did."""
        told: list[dict[str, Any]] = self._ask("GET", "faults")
        return told

    def clear_faults(self, number: int | None = None) -> None:
        self._ask("DELETE", "faults" if number is None else f"faults/{number}")

    def status(self) -> dict[str, Any]:
        """Return ``connections``, ``connections_made``, ``frames_sent``, ``requests`` by path, and more."""
        told: dict[str, Any] = self._ask("GET", "status")
        return told

    def wait_until(self, moment: int, *, timeout_seconds: float = 30.0) -> None:
        """Wait until the exchange's clock has reached ``moment`` (UTC ms)."""
        eventually(lambda: self.time() >= moment, seconds=timeout_seconds, every=0.005)

    def oracle(self, series: SeriesKey, start: int, end: int) -> Candles:
        """Return the candles with ``start <= open_time < end`` as the exchange has them in the end.

        That is what a faultless service holds: without those in a scripted hole, with the values of revisions.
        """
        return self.market.candles(series, start, end)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = requests.request(method, f"{self.url}/replay/{path}", json=body, timeout=10, verify=False)  # noqa: S501
        if answer.status_code >= 400:
            raise ValueError(answer.text)
        return answer.json()


@dataclass(frozen=True, slots=True)
class LocalReplay(Replay):
    """An exchange in this process; ``server`` has all its parts."""

    server: ReplayExchange = None  # type: ignore[assignment]

    def time(self) -> int:
        return self.server.clock.now()


@dataclass(frozen=True, slots=True)
class ProcessReplay(Replay):
    """An exchange in a process of its own. Its oracle knows no faults."""

    process: subprocess.Popen[str] = None  # type: ignore[assignment]
    ready_line: str = ""


@contextmanager
def replay(
    *,
    source: str | Market = "synthetic",
    symbols: Sequence[str] = DEFAULT_SYMBOLS,
    speed: float = 60.0,
    seed: int = 1,
    start: int = START,
    end: int | None = None,
    faults: Sequence[dict[str, Any]] = (),
    port: int = 0,
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[LocalReplay]:
    """Serve a market until the block ends: the synthetic one of ``seed``, or a ``Market`` of the test's own."""
    market = SyntheticMarket(symbols, seed=seed) if isinstance(source, str) else source
    exchange = ReplayExchange(market, VirtualClock(start, speed=speed, end=end), script=faults)
    listener = listening_socket("127.0.0.1", port)
    server = make_server(exchange, certificate=certificate)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="replay exchange", daemon=True)
    thread.start()
    eventually(lambda: server.started or not thread.is_alive(), every=0.002)
    assert server.started, "the replay exchange did not start"
    scheme = "s" if certificate is not None else ""
    try:
        yield LocalReplay(listener.getsockname()[1], exchange.book.market, scheme, exchange)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


@contextmanager
def replay_process(
    *arguments: str, symbols: Sequence[str] = DEFAULT_SYMBOLS, seed: int = 1, timeout_seconds: float = 60.0
) -> Iterator[ProcessReplay]:
    """Run ``manage.py replay_exchange`` with these arguments until the block ends; by default on a free port."""
    command = [sys.executable, "manage.py", "replay_exchange", "--symbols", ",".join(symbols), "--seed", str(seed)]
    command += [*([] if "--port" in arguments else ["--port", "0"]), *arguments]
    process = subprocess.Popen(command, cwd=_ROOT, env=dict(os.environ), stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(timeout_seconds, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        watchdog.cancel()
        assert "ready on" in line, f"the replay exchange did not start: {line!r}"
        port = int(line.split("http://")[1].split()[0].rpartition(":")[2])
        market = SyntheticMarket(symbols, seed=seed)
        yield ProcessReplay(port, ScriptedMarket(market, Faults(VirtualClock(START))), "", process, line)
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        process.wait(timeout=15)
        if process.stdout is not None:
            process.stdout.close()
