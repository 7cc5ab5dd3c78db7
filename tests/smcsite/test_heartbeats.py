"""Who runs: what supervisors noted and what processes say of themselves, each told once and while it lives."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from redis import Redis

from signals.push.processes import RunningProcess, note_processes
from signals.push.status import status_key
from smcsite import heartbeats
from smcsite.heartbeats import SILENT_AFTER, beat, redis_client

pytestmark = pytest.mark.django_db

_KEY = "smc:heartbeats"
HERE = socket.gethostname()


@pytest.fixture
def signs() -> Iterator[Redis]:
    client = redis_client(3)
    client.delete(_KEY)
    yield client
    client.delete(_KEY)


def told(client: Client) -> list[tuple[str, str, int]]:
    rows = client.get("/api/v1/status").json()["processes"]
    return [(row["role"], row["host"], row["pid"]) for row in rows]


def test_containers_are_told_by_their_signs_of_life(client: Client, signs: Redis) -> None:
    now = time.time()
    signs.zadd(_KEY, {"worker|c1|1": now, "worker|c2|1": now, "scheduler|c3|1": now, "worker|c4|1": now - SILENT_AFTER})
    assert set(told(client)) == {
        ("web", HERE, os.getpid()), ("worker", "c1", 1), ("worker", "c2", 1), ("scheduler", "c3", 1),
    }  # fmt: skip
    page = client.get("/web/status").text
    assert all(host in page for host in ("c1", "c2", "c3"))


def test_who_leads_the_stream_is_told(client: Client, signs: Redis) -> None:
    counts = dict.fromkeys(
        ("rejected_frames", "rejected_candles", "reconnects", "queue_depth", "connections", "published"), 0
    )
    leading = {"leader": {"host": "c5", "pid": 1}, "series": [], "state": "live", "error": "", **counts}
    cache.set(status_key(1), leading, 5)
    try:
        assert ("stream", "c5", 1) in told(client)
    finally:
        cache.delete(status_key(1))


def test_a_process_that_a_supervisor_noted_is_told_once(client: Client, signs: Redis, data_root: Path) -> None:
    beat("worker")
    settings.VAR_ROOT.mkdir(parents=True, exist_ok=True)
    note_processes(settings.VAR_ROOT, [RunningProcess(role, os.getpid(), 0.0) for role in ("worker", "web")])
    try:
        assert told(client) == [("worker", HERE, os.getpid()), ("web", HERE, os.getpid())]
    finally:
        note_processes(settings.VAR_ROOT, [])


def test_a_process_of_this_machine_that_ended_leaves_at_once(client: Client, signs: Redis) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    beat("worker", ended.pid)
    assert told(client) == [("web", HERE, os.getpid())]


def test_without_redis_the_rest_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Redis(port=1, socket_connect_timeout=0.1)
    monkeypatch.setattr(heartbeats, "redis_client", lambda database: nowhere)
    assert told(client) == [("web", HERE, os.getpid())]
