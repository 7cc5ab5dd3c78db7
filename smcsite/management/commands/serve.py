"""Runs the whole service: ``manage.py serve``."""

import fcntl
import http.client
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from markets.errors import ServiceUnavailableError
from markets.management.base import SmcCommand, port_from
from signals.push.processes import sweep_processes
from smcsite.child import Program
from smcsite.embedded import await_server, free_port, plan_server, publish_url
from smcsite.market_source import can_reach_exchange
from smcsite.supervisor import Supervisor
from smcsite.web import is_free

REPLAY_SPEED = 60.0
_MANAGE = (sys.executable, str(settings.BASE_DIR / "manage.py"))
_CELERY = (sys.executable, "-m", "celery", "--quiet", "-A", "smcsite")
_PORT_PATIENCE = 1.5


class Command(SmcCommand):
    help = "Run the service: web, stream, workers, scheduler and, unless REDIS_URL is set, an embedded server."
    is_service = True
    requires_system_checks = ()  # `prepare` and the web process do

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", help="address of the web server; default: API_HOST")
        parser.add_argument("--port", type=port_from(1), help="port of the web server; default: API_PORT")

    def run(self, **options: Any) -> None:
        self._decide(host=options["host"], port=options["port"])
        environment = settings.ENV
        self._make_folders()
        with only_instance(settings.VAR_ROOT / "serve.lock", may_stand_by=bool(environment.redis_url)):
            self._require_free("API_PORT", environment.api_host, environment.api_port)
            self._require_free("WORKER_PORT", environment.worker_host, environment.worker_port)
            sweep_processes(settings.VAR_ROOT)
            supervisor = Supervisor(settings.VAR_ROOT, json_lines=environment.log_format == "json")
            with supervisor.signals():
                try:
                    self._serve(supervisor)
                finally:
                    supervisor.stop()

    def _decide(self, *, host: str | None, port: int | None) -> None:
        """Settle what is open yet (the market, the address) and start again with it, for settings are read once."""
        environment, changes = settings.ENV, {}
        if host is not None and host != environment.api_host:
            changes["API_HOST"] = host
        if port is not None and port != environment.api_port:
            changes["API_PORT"] = str(port)
        if environment.market_source == "auto":
            is_reached = can_reach_exchange(environment.rest_url)
            changes["MARKET_SOURCE"] = "binance" if is_reached else "replay"
            if not is_reached:
                self.stdout.write(
                    f"{environment.rest_url} cannot be reached: serving a SYNTHETIC market instead, "
                    f"at {REPLAY_SPEED:g}x, with its data apart in {environment.data_dir / 'demo'}; "
                    "put MARKET_SOURCE=replay before a command that is to see them"
                )
                self.stdout.flush()
        if changes:
            os.environ.update(changes)
            os.execv(sys.executable, [*_MANAGE, "serve"])  # noqa: S606 - this very command, in this very process

    def _make_folders(self) -> None:
        for folder in (settings.VAR_ROOT, settings.REPORTS_ROOT):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / f"write-{os.getpid()}.tmp"
                probe.touch()
                probe.unlink()
            except OSError as error:
                self.fail(f"{folder} cannot be written by uid {os.getuid()}: {error.strerror}")

    def _require_free(self, variable: str, host: str, port: int) -> None:
        deadline = time.monotonic() + _PORT_PATIENCE  # a former instance may be ending just now
        while not is_free(host, port):
            if time.monotonic() > deadline:
                self.fail(f"{variable}: port {port} of {host} is in use or not ours to open")
            time.sleep(0.1)

    def _serve(self, supervisor: Supervisor) -> None:
        environment = settings.ENV
        if not environment.redis_url:
            self._start_broker(supervisor)
        if supervisor.run_once(Program("prepare", "prepare", lambda: (*_MANAGE, "prepare"))) != 0:
            if supervisor.was_told_to_stop:
                return
            self.fail("the data folder could not be made ready; the reason is logged above")
        variables = {}
        if environment.is_replay and not (environment.binance_rest_url and environment.binance_ws_url):
            variables = self._start_exchange(supervisor)
        web, *others = programs(variables)
        supervisor.start(web)
        # Pages answer while the engines are compiled, which takes half a minute once; what runs them waits.
        compiled = supervisor.run_once(Program("engines", "prepare", lambda: (*_MANAGE, "compile_engines")))
        if compiled != 0 and not supervisor.was_told_to_stop:
            self.fail("the engines could not be compiled; the reason is logged above")
        for program in [] if supervisor.was_told_to_stop else others:
            supervisor.start(program)
        supervisor.run(is_ready=self._is_ready, on_ready=lambda: self._announce(supervisor))

    def _start_broker(self, supervisor: Supervisor) -> None:
        plan = plan_server(settings.VAR_ROOT / "redis")
        publish_url(settings.VAR_ROOT, plan.url)
        broker = supervisor.start(Program("broker", "broker", lambda: plan.command, is_foundation=True))
        await_server(plan.url, alive=lambda: broker.is_running)

    def _start_exchange(self, supervisor: Supervisor) -> dict[str, str]:
        """Start the replay exchange; return the variables that lead the others to it."""
        address = f"127.0.0.1:{free_port()}"
        began, start = time.monotonic(), int((settings.VAR_ROOT / "replay-start").read_text())

        def command() -> tuple[str, ...]:
            # After a crash the market is to go on, not to begin again.
            now = start + round((time.monotonic() - began) * 1000 * REPLAY_SPEED)
            return (
                *_MANAGE, "replay_exchange", "--source", "synthetic", "--port", address.rpartition(":")[2],
                "--speed", f"{REPLAY_SPEED:g}", "--symbols", ",".join(settings.ENV.symbols), "--start", _iso(now),
            )  # fmt: skip

        supervisor.start(Program("exchange", "exchange", command, is_foundation=True))
        return {
            "BINANCE_REST_URL": f"http://{address}",
            "BINANCE_WS_URL": f"ws://{address}",
            "BINANCE_ARCHIVE_URL": f"http://{address}",
        }

    def _is_ready(self) -> bool:
        environment = settings.ENV
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(environment.api_host, environment.api_host)  # noqa: S104
        connection = http.client.HTTPConnection(host, environment.api_port, timeout=2)
        try:
            connection.request("GET", "/healthz", headers={"Host": "localhost"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _announce(self, supervisor: Supervisor) -> None:
        environment = settings.ENV
        host = f"[{environment.api_host}]" if ":" in environment.api_host else environment.api_host
        market = f"synthetic market at {REPLAY_SPEED:g}x" if environment.is_replay else environment.rest_url
        supervisor.say(f"ready: http://{host}:{environment.api_port}/web/ ({market}); Ctrl-C ends it")


def programs(variables: dict[str, str]) -> Iterator[Program]:
    """Yield what serves the site, in the order it is started."""
    schedule = settings.VAR_ROOT / f"schedule-{settings.ENV.api_port}"
    commands = {
        ("web", "web"): (sys.executable, "-m", "smcsite.web"),
        ("stream", "stream"): (*_MANAGE, "runstream"),
        # A worker a queue, so that hours of backtests or backfills never keep a short task waiting.
        ("worker", "worker"): _worker("scan", concurrency=1),
        ("backfills", "worker"): _worker("exchange", concurrency=2),
        ("backtests", "worker"): _worker("backtest", concurrency=max(1, min(8, (os.cpu_count() or 1) - 1))),
        ("beat", "scheduler"): (*_CELERY, "beat", "--pidfile=", "--schedule", str(schedule)),
    }
    for (name, role), command in commands.items():
        yield Program(name, role, lambda command=command: command, variables)  # type: ignore[misc]


def _worker(queue: str, *, concurrency: int) -> tuple[str, ...]:
    name = f"{queue}-{settings.ENV.api_port}@%h"
    return (
        *_CELERY, "worker", "--queues", queue, "--concurrency", str(concurrency), "--hostname", name,
        "--without-gossip", "--without-mingle",
    )  # fmt: skip


def _iso(time_: int) -> str:
    return datetime.fromtimestamp(time_ / 1000, UTC).isoformat(timespec="seconds")


@contextmanager
def only_instance(path: Path, *, may_stand_by: bool) -> Iterator[None]:
    """Hold the folder's lock; a second instance is refused unless it shares a Redis with the first."""
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not may_stand_by:
                lock.seek(0)
                raise ServiceUnavailableError(
                    f"{path.parent.parent} is served already by process {lock.read().strip() or 'unknown'}; "
                    "stop it, or set REDIS_URL so that this one stands by"
                ) from None
        else:
            lock.seek(0)
            lock.truncate()
            lock.write(str(os.getpid()))
            lock.flush()
        yield
