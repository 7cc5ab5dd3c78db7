"""How long a closed candle takes to become a signal on a socket: ``python benchmarks/live.py [--seconds N]``.

Everything runs as in service, in processes of its own on this machine: a replay exchange, a Redis server, the stream
worker, the web server. The clock starts when the exchange's frame with the closed candle arrives at a socket of our
own, opened at the exchange beside the service's, and stops when the signal arrives from ``/ws/live/``.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

import websockets

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._service import READY_SECONDS, ROOT, TIMEFRAMES, exchange_urls, migrate, variables
from smcsite.embedded import free_port, start_server

FAN_OUT = 500


class Service:
    """The processes of a service on a folder of its own."""

    def __init__(
        self, folder: Path, *, symbols: list[str], timeframes: tuple[str, ...], speed: float, streams: int = 1
    ) -> None:
        self.symbols, self.timeframes = symbols, timeframes
        self.server = start_server(folder / "redis")
        self.exchange_port, self.web_port = free_port(), free_port()
        self.worker_ports = [free_port() for _ in range(streams)]
        self.variables = variables(
            folder,
            REDIS_URL=self.server.url,
            **exchange_urls(self.exchange_port),
            API_HOST="127.0.0.1",
            API_PORT=str(self.web_port),
            WORKER_HOST="127.0.0.1",
            SYMBOLS=",".join(symbols),
            TIMEFRAMES=",".join(timeframes),
            HISTORY_DAYS="1",
        )
        self.log = (folder / "service.log").open("wb")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        migrate(self.variables)
        self.processes["exchange"] = self.manage(
            "replay_exchange",
            "--symbols",
            ",".join(symbols),
            "--speed",
            f"{speed:g}",
            "--port",
            str(self.exchange_port),
        )
        self.processes["web"] = self.run("-m", "smcsite.web")
        for number, port in enumerate(self.worker_ports, start=1):
            shard = f"{number}/{streams}"
            self.processes[f"stream {shard}"] = self.manage("runstream", "--shard", shard, "--port", str(port))

    def manage(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return self.run("manage.py", *arguments)

    def run(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=self.variables, stdout=self.log, stderr=self.log)

    def await_live(self) -> None:
        """Wait until every series is live and the web server answers."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            told = [self._told(port) for port in self.worker_ports]
            is_live = all(each.get("state") == "live" for each in told)
            if is_live and sum(each["series"] for each in told) == len(self.symbols) * len(self.timeframes):
                return
            time.sleep(0.5)
        raise SystemExit(f"not live after {READY_SECONDS} s; see {self.log.name}")

    @staticmethod
    def _told(port: int) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                told: dict[str, Any] = json.load(answer)
        except OSError:
            return {}
        return told

    def close(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            process.wait(20)
        self.server.process.kill()
        self.server.process.wait()
        self.log.close()


@contextmanager
def service(**options: Any) -> Iterator[Service]:
    with tempfile.TemporaryDirectory(prefix="smc-bench-") as folder:
        running = Service(Path(folder), **options)
        try:
            running.await_live()
            yield running
        finally:
            running.close()


Key = tuple[str, str, int]


async def hear_exchange(running: Service, closed: dict[Key, float]) -> None:
    """Note when each closing frame arrives."""
    names = [f"{symbol.lower()}@kline_{each}" for symbol in running.symbols for each in running.timeframes]
    async with websockets.connect(f"ws://127.0.0.1:{running.exchange_port}/stream", max_size=None) as socket:
        for number in range(0, len(names), 200):
            await socket.send(json.dumps({"method": "SUBSCRIBE", "params": names[number : number + 200], "id": number}))
            await asyncio.sleep(0.3)
        async for text in socket:
            kline = json.loads(text).get("data", {}).get("k")
            if kline and kline["x"]:
                closed[kline["s"], kline["i"], kline["t"]] = time.perf_counter()


async def hear_signals(running: Service, heard: dict[Key, list[float]]) -> None:
    """Note when each signal arrives that is told as new."""
    async with websockets.connect(f"ws://127.0.0.1:{running.web_port}/ws/live/", max_size=None) as socket:
        await socket.send(json.dumps({"op": "sub", "ch": ["signals"]}))
        async for text in socket:
            message = json.loads(text)
            if message["t"] == "signal" and not message["late"]:
                key = message["symbol"], message["timeframe"], _milliseconds(message["confirm_time"])
                heard[key].append(time.perf_counter())


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


async def listen(running: Service, seconds: float) -> tuple[dict[Key, float], dict[Key, list[float]]]:
    closed: dict[Key, float] = {}
    heard: dict[Key, list[float]] = defaultdict(list)
    tasks = [asyncio.create_task(hear_exchange(running, closed)), asyncio.create_task(hear_signals(running, heard))]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return closed, heard


def frame_to_socket(seconds: float) -> None:
    """3 pairs, 7 timeframes, 60 times as fast as the market."""
    with service(symbols=["BTCUSDT", "ETHUSDT", "BNBUSDT"], timeframes=TIMEFRAMES, speed=60) as running:
        closed, heard = asyncio.run(listen(running, seconds))
    lags = [(moment - closed[key]) * 1000 for key, moments in heard.items() if key in closed for moment in moments]
    print(f"3 pairs x 7 timeframes at 60x, {len(lags)} signals: ms from frame to socket: {shares(lags)}")


def closing_together(seconds: float, *, streams: int) -> None:
    """200 pairs whose candles close in the same second, followed by one stream process, or shared by two."""
    symbols = [f"PAIR{number:03d}USDT" for number in range(200)]
    with service(symbols=symbols, timeframes=("1m",), speed=4, streams=streams) as running:
        closed, heard = asyncio.run(listen(running, seconds))
    minutes: dict[int, list[float]] = defaultdict(list)
    for (_, _, open_time), moment in closed.items():
        minutes[open_time].append(moment)
    ends: dict[int, list[float]] = defaultdict(list)
    for (_, _, open_time), moments in heard.items():
        ends[open_time] += moments
    whole = [each for each, moments in minutes.items() if len(moments) == len(symbols) and ends[each]]
    lasts = [(max(ends[each]) - max(minutes[each])) * 1000 for each in whole]
    spans = [(max(minutes[each]) - min(minutes[each])) * 1000 for each in whole]
    count = sum(len(ends[each]) for each in whole)
    who = "one stream process" if streams == 1 else f"{streams} stream processes"
    print(
        f"200 pairs closing together, {who}, {len(whole)} minutes, {count} signals: "
        f"frames spread over {max(spans, default=0):.0f} ms; last signal after the last frame, ms: {shares(lasts)}; "
        f"the engine's share {engine_share(len(symbols)):.1f} ms"
    )


def engine_share(pairs: int) -> float:
    """Return the ms in which the engine, on both scales, takes one candle of each pair."""
    from signals.engine import SCALES, Detector, scale_params  # noqa: PLC0415
    from tests.factories import walk  # noqa: PLC0415

    detectors = [Detector(scale_params(scale)) for scale in SCALES for _ in range(pairs)]
    candles = walk(1, 1_500)
    for detector in detectors:
        detector.run(candles.first(1_440))
    lasts = list(candles.take(slice(1_440, None)))
    began = time.perf_counter()
    for candle in lasts:
        for detector in detectors:
            detector.step(candle)
    return (time.perf_counter() - began) * 1000 / len(lasts)


async def fan_out(running: Service, rounds: int = 20) -> list[float]:
    """Let a message reach many sockets; return the ms until the last one has it."""
    from signals.push.messages import body  # noqa: PLC0415
    from signals.push.sender import Sender  # noqa: PLC0415

    address = f"ws://127.0.0.1:{running.web_port}/ws/live/"
    sockets = [await websockets.connect(address, compression=None) for _ in range(FAN_OUT)]
    for socket in sockets:
        await socket.send('{"op": "sub", "ch": ["signals"]}')
    await asyncio.sleep(2)
    sender = Sender(f"{running.server.url}/1", epoch=10**15, shard="bench")
    sender.start()
    arrived: dict[str, list[float]] = defaultdict(list)
    tasks = [asyncio.create_task(_note_rounds(socket, arrived)) for socket in sockets]
    lags = []
    for number in range(rounds):
        began = time.perf_counter()
        sender.send("signals", body("signals", "signal", {"round": f"{number:04d}", "late": True, "html": "x" * 1_200}))
        while len(arrived[f"{number:04d}"]) < FAN_OUT:
            await asyncio.sleep(0.005)
        lags.append((max(arrived[f"{number:04d}"]) - began) * 1000)
        await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    sender.close()
    for socket in sockets:
        await socket.close()
    return lags


async def _note_rounds(socket: Any, arrived: dict[str, list[float]]) -> None:
    async for text in socket:
        moment = time.perf_counter()
        _, found, rest = text.partition('"round":"')
        if found:
            arrived[rest[:4]].append(moment)


def many_sockets() -> None:
    """One signal to 500 sockets of one web process."""
    with service(symbols=["BTCUSDT"], timeframes=("1h",), speed=1) as running:
        os.environ.update(running.variables)
        import django  # noqa: PLC0415

        django.setup()
        lags = asyncio.run(fan_out(running))
    print(f"{FAN_OUT} sockets, {len(lags)} messages: ms until the last socket has it: {shares(lags)}")


def shares(lags: list[float]) -> str:
    if len(lags) < 2:
        return "too few"
    cuts = quantiles(lags, n=100, method="inclusive")
    return f"p50 {cuts[49]:.1f}, p99 {cuts[98]:.1f}, most {max(lags):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", choices=["frame", "together", "sockets"])
    options = parser.parse_args()
    if options.only in (None, "frame"):
        frame_to_socket(options.seconds)
    if options.only in (None, "together"):
        for streams in (1, 2):
            closing_together(options.seconds, streams=streams)
    if options.only in (None, "sockets"):
        many_sockets()


if __name__ == "__main__":
    main()
