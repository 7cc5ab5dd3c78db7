"""Celery: the app, and what its processes do when they start and end. Tasks live in each app's ``tasks``."""

import contextlib
import os
import signal
import warnings
from typing import Any

from billiard.process import active_children
from celery import Celery
from celery.signals import setup_logging, worker_init, worker_process_init, worker_ready, worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smcsite.settings")

# Tasks and results are JSON, so root could be made to do no more than any other user; the image runs as another.
warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")

app = Celery("smcsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _log_as_the_others_do(**_: Any) -> None:
    """Keep Celery from setting up logs of its own; Django's are there already."""


@worker_init.connect
def _check_time_limits(**_: Any) -> None:
    """Refuse to start when a task may run longer than its message stays its own (a second worker would get it)."""
    hidden = app.conf.broker_transport_options["visibility_timeout"]
    longest = max((task.time_limit or 0 for task in app.tasks.values()), default=0)
    if hidden < 2 * longest:
        raise SystemExit(f"visibility_timeout ({hidden} s) must be twice the longest time limit ({longest} s)")


@worker_init.connect
def _check_broker(**_: Any) -> None:
    """Refuse to start on a Redis that throws jobs away when its memory is short; one that is away is waited for."""
    # Imported here: the one reads settings, which this module is part of; the other takes a tenth of a second, and
    # every command imports this module.
    from redis import RedisError  # noqa: PLC0415

    from smcsite.broker import eviction_policy  # noqa: PLC0415

    with contextlib.suppress(RedisError, OSError):
        if policy := eviction_policy():
            raise SystemExit(f"REDIS_URL: its maxmemory-policy is {policy}, so jobs may be evicted; set noeviction")


@worker_init.connect
def _share_engine(sender: Any, **_: Any) -> None:
    """Load the engine before the pool forks, so that its processes share one; each of them lives for some jobs only."""
    if not {"backtest", "scan"}.isdisjoint(sender.app.amqp.queues.consume_from):
        # Imported here: every command that puts work on a queue imports this module, and few need the engine.
        from signals.services.starting import load_engine  # noqa: PLC0415

        load_engine()


@worker_ready.connect
def _watch(sender: Any, **_: Any) -> None:
    # Imported here: the watchdog reads settings, which this module is part of.
    from smcsite.watchdog import start_watchdog  # noqa: PLC0415

    start_watchdog(sender)


@worker_ready.connect
def _ask_about_pairs(sender: Any, **_: Any) -> None:
    """Ask at once what the exchange says of the pairs; the schedule's first tick is an hour away."""
    if "exchange" in sender.app.amqp.queues.consume_from:
        app.send_task("markets.tasks.refresh_pairs", queue="exchange", expires=120)


@worker_process_init.connect
def _prepare_child(**_: Any) -> None:
    """Let a pool process die with its worker, and ignore the wish to pause while it has no job."""
    from smcsite.child import die_with_parent  # noqa: PLC0415

    die_with_parent(os.getppid())
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


@worker_shutting_down.connect
def _put_jobs_back(**_: Any) -> None:
    """Ask the pool to put its jobs back on the queue, so that a deployment need not wait for hours of work."""
    for process in active_children():
        if process.pid is not None:
            os.kill(process.pid, signal.SIGUSR2)
