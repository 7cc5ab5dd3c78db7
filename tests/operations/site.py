"""The service as several machines run it: every part a process of its own, one database, one Redis, one folder."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg
from celery import Celery
from django.conf import settings
from psycopg.rows import dict_row
from redis import Redis

from markets.candles import Candle
from markets.series import SeriesKey
from markets.store import CandleStore
from smcsite.embedded import await_server, free_port, plan_server, server_binary
from tests import compiling
from tests.environment import service_variables
from tests.nursery import Started as Process
from tests.replaying import START, LocalReplay
from tests.waiting import eventually

HOUR = 3_600_000
_PATIENCE = 120.0
# Every call comes from an address of its own, so that no test uses up the limits of another.
_addresses = (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in itertools.count(1))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a web process said; status 0 when it did not."""

    status: int
    headers: Message
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Broker:
    """A Redis that can be killed and comes back as it was, on the same port."""

    def __init__(self, folder: Path) -> None:
        plan = plan_server(folder)
        self.url = plan.url
        # The packaged server where there is one: it is what stands in the compose file.
        self._command = (shutil.which("redis-server") or server_binary(), *plan.command[1:])
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, start_new_session=True)
        await_server(self.url, alive=lambda: self._process.poll() is None)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def client(self, database: int) -> Redis:
        return Redis.from_url(f"{self.url}/{database}")


class Web:
    """A web process and a caller of it."""

    def __init__(self, process: Process, port: int) -> None:
        self.process, self.port = process, port

    def ask(
        self, path: str, body: dict[str, Any] | None = None, *, address: str = "", key: str = "", seconds: float = 30
    ) -> Answer:
        """Send GET, or POST when there is a ``body``, as a caller from ``address``; by default from a new one."""
        headers = {"X-Forwarded-For": address or next(_addresses), "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        content = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", content, headers)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - our own server
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())
        except (OSError, HTTPException):
            return Answer(0, Message())

    def job_states(self, ids: set[int]) -> set[str]:
        """Return the states of backfills as this web tells them."""
        return {self.ask(f"/api/v1/backfills/{each}/").json["state"] for each in ids}


class Site:
    """A folder, a database, a Redis, and the processes that were started on them."""

    def __init__(self, folder: Path, exchange: LocalReplay, *, database_url: str, **variables: str) -> None:
        self.folder, self.database_url = folder, database_url
        self.numbers = itertools.count(1)
        self.broker = Broker(folder / "redis")
        self.variables = {
            **service_variables(folder / "data"),
            "REPORTS_DIR": str(folder / "reports"),
            "DATABASE_URL": database_url,
            "REDIS_URL": self.broker.url,
            "BINANCE_REST_URL": exchange.url,
            "BINANCE_WS_URL": exchange.ws_url,
            "BINANCE_ARCHIVE_URL": exchange.url,
            "TRUSTED_PROXIES": "127.0.0.1",
            "WS_RECONNECT_DELAY": "0.2",
            **variables,
        }
        self._exchange = exchange
        self._processes: list[Process] = []
        self._webs: list[Web] = []
        self._workers: list[Process] = []
        self._streams: list[Process] = []
        self._ports: dict[int, int] = {}

    def manage(self, *arguments: str, **variables: str) -> str:
        """Run a command to its end."""
        ended = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=settings.BASE_DIR, env={**self.variables, **variables},
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-3_000:]
        return ended.stdout

    def start(self, *arguments: str, **variables: str) -> Process:
        """Start a process of the service."""
        process = Process(
            *arguments, folder=settings.BASE_DIR, variables={**self.variables, **variables}, log=self.folder / "log.txt"
        )
        self._processes.append(process)
        return process

    def start_all(self) -> None:
        """Make the database, then start two of each part, and wait for nobody."""
        compiling.await_end()
        self.manage("prepare")
        self._webs = [self._start_web() for _ in range(2)]
        self._streams = [self._start_stream() for _ in range(2)]
        self._workers = [self._start_worker() for _ in range(2)]

    def _start_web(self) -> Web:
        port = free_port()
        return Web(self.start("-m", "smcsite.web", API_PORT=str(port)), port)

    def _start_stream(self) -> Process:
        port = free_port()
        process = self.start("manage.py", "runstream", "--port", str(port))
        self._ports[process.pid] = port
        return process

    def _start_worker(self) -> Process:
        # None works on backtests, so a sweep that is asked for stays as it was written.
        return self.start(
            "-m", "celery", "-A", "smcsite", "worker", "--queues", "exchange,scan", "--concurrency", "1",
            "--hostname", f"w{len(self._processes)}@%h", "--without-gossip", "--without-mingle",
        )  # fmt: skip

    def beat(self) -> Process:
        schedule = self.folder / f"schedule-{len(self._processes)}"
        return self.start("-m", "celery", "-A", "smcsite", "beat", "--pidfile=", "--schedule", str(schedule))

    def webs(self) -> list[Web]:
        """Return both webs; one that has ended is started again."""
        self._webs = [each if each.process.poll() is None else self._start_web() for each in self._webs]
        for web in self._webs:
            eventually(lambda web=web: self._is_up(web), seconds=_PATIENCE, every=0.05)  # type: ignore[misc]
        return list(self._webs)

    def _is_up(self, web: Web) -> bool:
        assert web.process.poll() is None, self.log[-3_000:]
        return web.ask("/healthz").status == 200

    def workers(self) -> list[Process]:
        """Return both workers; one that has ended is started again."""
        self._workers = [each if each.poll() is None else self._start_worker() for each in self._workers]
        return list(self._workers)

    def streams(self) -> list[Process]:
        """Return both stream workers; one that has ended is started again."""
        self._streams = [each if each.poll() is None else self._start_stream() for each in self._streams]
        return list(self._streams)

    def await_live(self, streams: list[Process]) -> Process:
        """Wait until one of these stream workers leads and is up to date, and the others stand by; return it."""
        live: list[Process] = []

        def leads() -> bool:
            assert all(each.poll() is None for each in streams), self.log[-3_000:]
            states = [self._stream_state(each) for each in streams]
            live[:] = [each for each, state in zip(streams, states, strict=True) if state == "live"]
            return states.count("standby") == len(streams) - 1 and bool(live)

        eventually(leads, seconds=_PATIENCE, every=0.1)
        return live[0]

    def _stream_state(self, process: Process) -> str:
        """Return a stream worker's role, or the leader's state; nothing while it does not answer."""
        with suppress(OSError):
            url = f"http://127.0.0.1:{self._ports[process.pid]}/health"
            with urllib.request.urlopen(url, timeout=2) as answer:
                told = json.load(answer)
                return str(told["state"] if told["role"] == "leader" else told["role"])
        return ""

    def await_done(self, ids: set[int]) -> None:
        """Wait until these jobs are done, doing what the scheduler has done every ten seconds, with less patience.

        A worker that is gone counts as silent at once.
        """
        query = "SELECT id, state, worker FROM markets_job WHERE id = ANY(%s) AND state <> 'done'"
        deadline = time.monotonic() + _PATIENCE
        while left := self.rows(query, list(ids)):
            assert {job["state"] for job in left} <= {"queued", "running"}, left
            assert time.monotonic() < deadline, self.log[-3_000:]
            for job in left:
                if job["state"] == "running" and _is_gone(job["worker"]):
                    self.rows(
                        "UPDATE markets_job SET heartbeat_at = heartbeat_at - interval '1 minute'"
                        " WHERE state = 'running' AND id = %s AND worker = %s RETURNING id", job["id"], job["worker"],
                    )  # fmt: skip
            self.rows(
                "UPDATE markets_job SET dispatched_at = NULL WHERE state = 'queued' AND id = ANY(%s) RETURNING id",
                list(ids),
            )
            with Celery(broker=self.broker.url, set_as_current=False) as app:
                app.send_task("markets.tasks.dispatch_backfills", queue="scan")
            time.sleep(0.5)

    def attempts(self, ids: set[int]) -> set[int]:
        """Return how often these jobs were begun."""
        return {row["attempts"] for row in self.rows("SELECT attempts FROM markets_job WHERE id = ANY(%s)", list(ids))}

    def another_database(self, name: str) -> str:
        """Make an empty database beside the site's; return its URL."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"{self.database_url.rpartition('/')[0]}/{name}"

    def rows(self, query: str, *values: Any, database_url: str = "") -> list[dict[str, Any]]:
        """Ask the database itself."""
        with psycopg.connect(database_url or self.database_url, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def stored_and_expected(self) -> tuple[list[Candle], list[Candle]]:
        """Return the candles that are stored, from the first to the last, and those of the exchange."""
        series = SeriesKey.of("BTCUSDT", "1m")
        stored = CandleStore(self.folder / "data").read(series, start=None, end=None)
        first, last = int(stored.open_time[0]), int(stored.open_time[-1])
        return list(stored), list(self._exchange.oracle(series, first, last + 1))

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.broker.kill()


def _is_gone(worker: str) -> bool:
    """Say whether the process that took a job, HOST:PID:NUMBER, has ended."""
    return not Path("/proc", worker.split(":")[1]).exists()


@contextmanager
def stopped(*processes: Process) -> Iterator[None]:
    """Let processes and their children stand still while the block runs."""
    for process in processes:
        os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGCONT)


def backfill(number: int) -> dict[str, Any]:
    """Return a request for an hour of candles that no other ``number`` asks for."""
    end = START - START % HOUR - (24 + number) * HOUR
    return {"symbol": "BTCUSDT", "timeframe": "1m", "start": end - HOUR, "end": end, "source": "rest"}
