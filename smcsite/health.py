"""How the service is: ``/health`` looks at every part, ``/healthz`` only says that this process answers."""

import logging
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from redis.exceptions import RedisError

from markets.api.answers import json_answer
from signals.push.status import read_status
from smcsite.broker import eviction_policy, is_out_of_memory
from smcsite.heartbeats import Heartbeat, heartbeats, redis_client
from smcsite.security.credentials import find_credential, is_open, is_staff
from smcsite.store_watch import DEGRADED, DOWN, OK, Check, store_watch
from smcsite.version import VERSION

logger = logging.getLogger(__name__)


def database_check() -> Check:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return Check(OK) if is_migrated() else Check(DOWN, "migrations are not applied: manage.py migrate")
    except DatabaseError as error:
        return Check(DOWN, type(error).__name__)


def is_migrated() -> bool:
    """Say whether every migration is applied; once they are, nobody unapplies them under a running process."""
    if not _known_migrated:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return False
        _known_migrated.append(True)
    return True


_known_migrated: list[bool] = []


def redis_check(database: int) -> Check:
    try:
        redis_client(database).ping()
    except (RedisError, OSError) as error:
        return Check(DOWN, type(error).__name__)
    return Check(OK)


def broker_check() -> Check:
    try:
        redis_client(0).llen("exchange")
        policy, is_full = eviction_policy(), is_out_of_memory()
    except (RedisError, OSError) as error:
        return Check(DOWN, type(error).__name__)
    if policy:
        return Check(DEGRADED, f"maxmemory-policy is {policy}: jobs may be evicted")
    if is_full:
        return Check(DEGRADED, "Redis is out of memory")
    return Check(OK)


def stream_check() -> Check:
    told = read_status()
    states = {row["state"] for row in told["series"]}
    if told["state"] == "down":
        return Check(DOWN, told["error"] or "no stream worker speaks")
    if states - {"live", "catching_up"}:
        names = [f"{row['symbol']} {row['timeframe']}" for row in told["series"] if row["state"] != "live"]
        return Check(DEGRADED, f"{len(names)} series are not live: {', '.join(names[:5])}")
    return Check(OK) if told["state"] == "live" else Check(DEGRADED, told["state"])


def process_check(role: str, alive: list[Heartbeat] | None) -> Check:
    if alive is None:
        return Check(DOWN, "Redis is away")
    count = sum(each.role == role for each in alive)
    return Check(OK, f"{count} running") if count else Check(DOWN, f"no {role} gave a sign of life lately")


def checks() -> dict[str, Check]:
    """Look at every part. None of them may raise or take long: this is asked when things are bad."""
    try:
        alive: list[Heartbeat] | None = heartbeats()
    except (RedisError, OSError):
        alive = None
    looks: dict[str, Callable[[], Check]] = {
        "database": database_check,
        "broker": broker_check,
        "cache": lambda: redis_check(2),
        "channel_layer": lambda: redis_check(1),
        "store": lambda: store_watch().check(),
        "stream": stream_check,
        "worker": lambda: process_check("worker", alive),
        "scheduler": lambda: process_check("scheduler", alive),
    }
    return {name: _looked(name, look) for name, look in looks.items()}


def _looked(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except Exception as error:
        logger.exception("a health check failed", extra={"check": name})
        return Check(DOWN, type(error).__name__)


def overall(found: dict[str, Check]) -> str:
    """Return ``down`` when the service cannot do its work at all, ``degraded`` when a part is missing, else ``ok``."""
    if found["database"].status == DOWN or found["store"].status == DOWN:
        return DOWN
    return OK if all(each.status == OK for each in found.values()) else DEGRADED


def health(request: HttpRequest) -> HttpResponse:
    """Answer how every part is: 200 when the service works, 503 when it does not."""
    found = checks()
    status = overall(found)
    may_know = is_open() or find_credential(request) is not None or is_staff(request.user)
    told: dict[str, Any] = {
        name: {"status": each.status, **({"detail": each.detail} if may_know and each.detail else {})}
        for name, each in found.items()
    }
    content = {"status": status, "version": VERSION, "checks": told}
    return json_answer(content, status=503 if status == DOWN else 200)


def healthz(request: HttpRequest) -> HttpResponse:
    """Answer that this process lives. Asks nothing of any other part."""
    return HttpResponse("ok\n", content_type="text/plain")
