"""Stream workers as processes of their own, on a data folder of their own, against a replay exchange."""

import contextlib
import json
import signal
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from markets.candles import Candles
from markets.series import SeriesKey
from markets.store import CandleStore
from signals.log.told import told_mark
from signals.push.channels import stream_key
from smcsite.embedded import free_port
from tests.databases import migrated
from tests.environment import service_variables
from tests.nursery import Started
from tests.replaying import Replay
from tests.signals.feed.batches import Found, batch
from tests.waiting import eventually

_STOP_SECONDS = 30.0
_EARS_MILLISECONDS = 200


class Kept:
    """A data folder and what was left in it, beside what was said of it."""

    folder: Path
    series: list[SeriesKey]
    kinds: list[str]
    ears: "Ears"

    def candles(self, series: SeriesKey) -> Candles:
        return CandleStore(self.folder).read(series, start=None, end=None)

    def ledger(self, series: SeriesKey) -> list[sqlite3.Row]:
        """Return the ledger's rows of a series, as they lie in the database."""
        with contextlib.closing(sqlite3.connect(self.folder / "db.sqlite3", timeout=20)) as database:
            database.row_factory = sqlite3.Row
            found = database.execute(
                "SELECT * FROM signals_publishedsignal WHERE symbol = ? AND timeframe = ? ORDER BY id",
                (series.symbol, series.timeframe.value),
            )
            return found.fetchall()


class Workers(Kept):
    """The stream workers that were started on a data folder."""

    def __init__(
        self,
        folder: Path,
        exchange: Replay,
        *,
        symbols: str,
        timeframes: str,
        redis_url: str = settings.REDIS_URL,
        program: tuple[str, ...] = ("manage.py",),
        **variables: str,
    ) -> None:
        self.folder = folder
        self._exchange, self._program = exchange, program
        self._redis = Redis.from_url(redis_url)
        self._redis.flushall()
        self._variables = {
            **service_variables(folder),
            "REDIS_URL": redis_url,
            "BINANCE_REST_URL": exchange.url,
            "BINANCE_WS_URL": exchange.ws_url,
            "BINANCE_ARCHIVE_URL": exchange.url,
            "SYMBOLS": symbols,
            "TIMEFRAMES": timeframes,
            "HISTORY_DAYS": "1",
            "WS_RECONNECT_DELAY": "0.2",
            "LOG_FORMAT": "json",
            **variables,
        }
        self.series = [SeriesKey.of(symbol, each) for symbol in symbols.split(",") for each in timeframes.split(",")]
        self.kinds = self._variables["INDICATORS"].split(",")
        self.ports: dict[int, int] = {}
        self._processes: list[Started] = []
        self.ears = Ears(redis_url)
        (folder / "var").mkdir(parents=True, exist_ok=True)
        migrated(folder / "db.sqlite3", self._migrate)

    def _migrate(self) -> None:
        assert self.run("migrate", "--verbosity", "0").wait(120) == 0, self.log

    def start(self, *arguments: str) -> Started:
        """Start one more worker."""
        port = free_port()
        process = self.run("runstream", "--port", str(port), *arguments)
        self.ports[process.pid] = port
        self._processes.append(process)
        return process

    def run(self, *arguments: str, **variables: str) -> Started:
        """Begin any command on this folder; ``variables`` change its environment."""
        log = self.folder / "workers.log"
        environment = {**self._variables, **variables}
        return Started(*self._program, *arguments, folder=settings.BASE_DIR, variables=environment, log=log)

    def health(self, process: Started) -> dict[str, Any]:
        """Return what a worker says of itself; nothing while it does not answer."""
        try:
            url = f"http://127.0.0.1:{self.ports[process.pid]}/health"
            with urllib.request.urlopen(url, timeout=2) as answer:
                told: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                told = json.load(error)
        except OSError:
            return {}
        return told

    def await_role(self, process: Started, role: str, *, seconds: float = 120) -> None:
        self._await(process, "role", role, seconds)

    def await_live(self, process: Started, *, seconds: float = 120) -> None:
        """Wait until the worker leads and all its series are up to date."""
        self._await(process, "state", "live", seconds)

    def await_signal(self) -> None:
        """Wait until one more signal is said: the market may have none for as long as a test otherwise takes."""
        before = len(self.ears.signals())
        eventually(lambda: len(self.ears.signals()) > before, seconds=60)

    def _await(self, process: Started, name: str, value: str, seconds: float) -> None:
        def holds() -> bool:
            assert process.poll() is None, self.log[-3_000:]
            return self.health(process).get(name) == value

        eventually(holds, seconds=seconds, every=0.05)

    def role(self, process: Started) -> str:
        return str(self.health(process).get("role", ""))

    @property
    def epoch(self) -> int:
        """The fencing number of the leader of the only shard."""
        return int((self.folder / "var/stream-1of1.epoch").read_text())

    def finish(self, leader: Started) -> None:
        """Let the exchange's clock stand still, the leader take all there is, and end it."""
        self._exchange.set_clock(speed=0)
        eventually(lambda: self.health(leader).get("queue_depth") == 0, seconds=30)
        self.await_live(leader)
        eventually(lambda: self.health(leader).get("queue_depth") == 0, seconds=30)
        assert self.terminate(leader) == 0

    def kill(self, process: Started) -> None:
        process.kill()
        process.wait()

    def terminate(self, process: Started) -> int:
        process.terminate()
        return process.wait(_STOP_SECONDS)

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        self.ears.close()
        with contextlib.suppress(RedisError):
            self._redis.flushall()
        self._redis.close()

    @property
    def log(self) -> str:
        return (self.folder / "workers.log").read_text(errors="replace")


class Ears:
    """Hears everything that is said on ``signals``, from the start, as the Redis stream numbers it."""

    def __init__(self, redis_url: str) -> None:
        self.messages: list[dict[str, Any]] = []
        self._redis = Redis.from_url(f"{redis_url}/1")
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        last: bytes | str = "0"
        while not self._is_closing.is_set():
            try:
                # It is woken by each message, since whoever only looks now and then misses what a burst pushes out.
                read: Any = self._redis.xread({stream_key("signals"): last}, block=_EARS_MILLISECONDS)
            except RedisError:
                self._is_closing.wait(0.05)
                continue
            for _, rows in read:
                for key, fields in rows:
                    self.messages.append({"seq": int(key.partition(b"-")[0]), **orjson.loads(b"{" + fields[b"m"])})
                    last = key

    def signals(self) -> list[dict[str, Any]]:
        return [message for message in list(self.messages) if message["t"] == "signal"]

    def close(self) -> None:
        self._is_closing.set()
        self._thread.join()
        self._redis.close()


@contextlib.contextmanager
def workers(folder: Path, exchange: Replay, **options: Any) -> Iterator[Workers]:
    """Give a test its workers, and end them with it."""
    rig = Workers(folder, exchange, **options)
    try:
        yield rig
    finally:
        rig.close()


def named(rows: list[sqlite3.Row]) -> Found:
    """Return rows of the ledger as ``batch`` names signals."""
    names = ("scale", "kind", "direction", "event_time", "ref_time", "confirm_time")
    return {tuple(row[name] for name in names) for row in rows}


def check_all(rig: Kept, exchange: Replay) -> int:
    """Check that nothing is missing, double or changed of what was stored, entered and said; return how many signals.

    Every stored candle is the exchange's; the ledger holds what a batch finds after the first that was entered, each
    once; each of these was said once, with a number that follows the one before.
    """
    total = 0
    said = [message["id"] for message in rig.ears.signals()]
    assert len(said) == len(set(said)), "a signal was said twice"
    for series in rig.series:
        stored = rig.candles(series)
        first, last = int(stored.open_time[0]), int(stored.open_time[-1])
        truth = exchange.oracle(series, first, last + 1)
        assert list(stored) == list(truth), f"{series} differs from the exchange's candles"
        rows = rig.ledger(series)
        assert len(rows) == len(named(rows))
        assert all(row["revised_at"] is None for row in rows)
        start = told_since(rig.folder, series)
        assert named(rows) == batch(stored, after=start, kinds=rig.kinds), f"{series}: ledger and batch differ"
        missing = {ident(row) for row in rows} - set(said)
        assert not missing, f"{series}: entered and never said: {sorted(missing)[:5]}"
        total += len(rows)
    assert total == len(said)
    numbers = [message["seq"] for message in rig.ears.messages]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return total


def told_since(folder: Path, series: SeriesKey) -> int:
    """Return the time after which signals were told: that of the last candle of the first history."""
    found = told_mark(folder, series)
    assert found is not None
    return found.start


def ident(row: sqlite3.Row) -> str:
    direction = "up" if row["direction"] == 1 else "down"
    parts = (row["symbol"], row["timeframe"], row["scale"], row["kind"], direction, row["event_time"], row["ref_time"])
    return ".".join(str(part) for part in parts)
