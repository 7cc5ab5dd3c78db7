"""What ``/health`` says when a part is broken, and that ``/healthz`` asks nobody."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client
from redis.exceptions import ConnectionError as RedisConnectionError

from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.store import Source
from smcsite import health, store_watch
from smcsite.env import BASE_DIR
from smcsite.store_watch import DEGRADED, DOWN, OK, Check, StoreWatch
from tests.factories import walk
from tests.smcsite.securing import SECRET

# A store in which no other test put damaged files aside or filled the disk.
pytestmark = pytest.mark.usefixtures("data_root")

Break = Callable[[pytest.MonkeyPatch], object]


def _refuse(error: Exception) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    return refuse


def _no_database(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", _refuse(DatabaseError("gone: password=x")))


def _no_migrations(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(health, "_known_migrated", [])
    patch.setattr("django.db.migrations.executor.MigrationExecutor.migration_plan", lambda *_: [("markets", "0042")])


def _no_redis(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("redis.connection.ConnectionPool.get_connection", _refuse(RedisConnectionError("127.0.0.1:6379")))


def _full_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("os.statvfs", lambda _path: SimpleNamespace(f_bavail=1, f_bfree=1, f_blocks=100, f_frsize=4096))
    store_watch.store_watch.cache_clear()


# How each part is broken, which checks tell of it, and the status of the answer.
BROKEN: dict[str, tuple[Break, set[str], int]] = {
    "database": (_no_database, {"database"}, 503),
    "migrations": (_no_migrations, {"database"}, 503),
    "disk": (_full_disk, {"store"}, 503),
    "redis": (_no_redis, {"broker", "cache", "channel_layer"}, 200),
}


@pytest.mark.django_db
@pytest.mark.parametrize("part", BROKEN)
def test_health_semantics(client: Client, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """S44: each broken part is told by its name; only what all depend on makes it 503, and the process lives on."""
    before = client.get("/health").json()
    assert {name for name in before["checks"] if before["checks"][name]["status"] == "ok"} >= {
        "database", "broker", "cache", "channel_layer", "store",
    }  # fmt: skip
    break_it, told, status = BROKEN[part]
    break_it(monkeypatch)
    answer = client.get("/health")
    checks = answer.json()["checks"]
    assert answer.status_code == status, answer.json()
    assert answer.json()["status"] == ("down" if status == 503 else "degraded")
    for name in told:
        assert checks[name]["status"] != "ok"
    untouched = {"database", "store", "broker", "cache", "channel_layer"} - told
    assert {checks[name]["status"] for name in untouched} == {"ok"}
    assert "password" not in answer.text
    assert "6379" not in answer.text
    alive = client.get("/healthz")
    assert (alive.status_code, alive.text) == (200, "ok\n")


def test_damaged_files_are_told_by_their_number(data_root: Path) -> None:
    assert StoreWatch().check() == Check(OK)
    for name, count in (("1m", 1), ("15m", 2)):
        series = SeriesKey.of("BTCUSDT", name)
        candle_store().merge(series, walk(count, 300, timeframe=series.timeframe), source=Source.ARCHIVE)
        (file, *_) = (data_root / "candles" / "BTCUSDT" / name).glob("*.parquet")
        file.write_bytes(file.read_bytes()[:-100])
        candle_store.cache_clear()
        candle_store().read(series, start=None, end=None)
        assert StoreWatch().check() == Check(DEGRADED, f"{count} damaged files were put aside")


def test_a_quarantine_that_cannot_be_read_is_a_store_that_is_down(data_root: Path) -> None:
    (data_root / "quarantine").mkdir(parents=True)
    loop = data_root / "quarantine" / "candles"
    loop.symlink_to(loop)
    watch = StoreWatch()
    told = Check(DOWN, f"{data_root} cannot be used: Too many levels of symbolic links")
    assert [watch.check(), watch.check()] == [told, told]


def test_healthz_asks_nobody(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """S44: without database (this test may use none), Redis and store: it is asked when things are bad."""
    _no_redis(monkeypatch)
    monkeypatch.setattr(health, "checks", _refuse(AssertionError("it looked")))
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
@pytest.mark.usefixtures("secured")
def test_details_are_for_those_who_know_the_secret(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """S44: to everybody else it says only which part is broken."""
    monkeypatch.setattr(health, "checks", lambda: {"database": Check("down", "why"), "store": Check("ok")})
    assert client.get("/health").json()["checks"] == {"database": {"status": "down"}, "store": {"status": "ok"}}
    told = client.get("/health", headers={"X-Shared-Secret": SECRET}).json()
    assert told["checks"]["database"] == {"status": "down", "detail": "why"}


@pytest.mark.django_db
def test_a_full_disk_is_told_on_every_page_and_no_page_is_lost_to_it(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F38."""
    paths = ("/web/", "/web/signals", "/web/data", "/web/status", "/web/help")
    assert all("writes stopped" not in client.get(path).content.decode() for path in paths)
    _full_disk(monkeypatch)
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200
        assert "Disk full: writes stopped." in answer.content.decode()


@pytest.mark.django_db
def test_every_metric_of_the_service_is_told_of_in_the_guide(client: Client) -> None:
    names = re.findall(r"^# TYPE (smc_\S+)", client.get("/metrics").text, re.MULTILINE)
    guide = (BASE_DIR / "docs" / "operations.md").read_text()
    assert len(names) > 6
    assert [name for name in names if not re.search(rf"`{name}[`{{]", guide)] == []
