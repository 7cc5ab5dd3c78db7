"""Signs of life of the processes, in Redis: each says every few seconds that it is there."""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from signals.push.processes import is_alive

BEAT_SECONDS = 5.0
SILENT_AFTER = 20.0
_KEY = "smc:heartbeats"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The newest sign of life of a process. ``seen`` is in real seconds since 1970."""

    role: str
    host: str
    pid: int
    seen: float


@cache
def redis_client(database: int) -> Redis:
    """Return this process's connections to one of our databases; they give up quickly."""
    return Redis.from_url(settings.REDIS_URLS[database], socket_timeout=1.0, socket_connect_timeout=1.0)


def beat(role: str, pid: int | None = None) -> None:
    """Say that a process of this machine is alive. Raises ``RedisError`` while Redis is away."""
    member = f"{role}|{socket.gethostname()}|{pid or os.getpid()}"
    now = time.time()
    with redis_client(3).pipeline(transaction=False) as pipeline:
        pipeline.zadd(_KEY, {member: now})
        pipeline.zremrangebyscore(_KEY, 0, now - 10 * SILENT_AFTER)
        pipeline.execute()


def heartbeats() -> list[Heartbeat]:
    """Return the processes that gave a sign lately. Raises ``RedisError`` while Redis is away."""
    found = []
    lately: Any = redis_client(3).zrangebyscore(_KEY, time.time() - SILENT_AFTER, "+inf", withscores=True)
    for member, seen in lately:
        role, host, pid = member.decode().split("|")
        found.append(Heartbeat(role, host, int(pid), seen))
    return found


def running(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return who runs: this process, those that the status ``told`` names, and whoever gave a sign of life lately.

    In containers no supervisor notes anything, and all have the same few process numbers: the host tells them apart.
    """
    here = socket.gethostname()
    found = [(each["role"], here, each["pid"]) for each in told["processes"]]
    found.append(("web", here, os.getpid()))
    found += [("stream", each["host"], each["pid"]) for each in told["leaders"]]
    with suppress(RedisError, OSError):  # the rest is known without it
        found += [(each.role, each.host, each.pid) for each in heartbeats()]
    return [
        {"role": role, "pid": pid, "host": host}
        for role, host, pid in dict.fromkeys(found)
        if host != here or is_alive(pid)  # a sign outlives its process by some seconds
    ]
