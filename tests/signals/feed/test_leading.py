"""One leads, the others stand by, and whoever led before writes nothing."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from markets.errors import FencedError
from signals.feed.fence import Fence
from signals.feed.lease import Lease
from tests.brokers import emptied
from tests.waiting import eventually


@pytest.fixture
def redis() -> Iterator["Redis"]:
    with emptied(settings.REDIS_URLS[3]) as client:
        yield client


def test_each_leader_has_a_higher_number(tmp_path: Path) -> None:
    fences = [Fence(tmp_path / "epoch") for _ in range(5)]
    numbers = [fence.take() for fence in fences]
    assert numbers == sorted(set(numbers))


def test_a_former_leader_is_kept_from_writing(tmp_path: Path) -> None:
    former, leader = Fence(tmp_path / "epoch"), Fence(tmp_path / "epoch")
    former.take()
    with former.hold():
        former.check()
    leader.take()
    with pytest.raises(FencedError), former.hold():
        raise AssertionError("wrote")
    with pytest.raises(FencedError):
        former.check()
    with leader.hold():
        leader.check()


def test_a_folder_that_was_emptied_does_not_lower_the_number(tmp_path: Path) -> None:
    fence = Fence(tmp_path / "epoch")
    first = fence.take()
    (tmp_path / "epoch").unlink()
    assert Fence(tmp_path / "epoch").take() >= first


def test_a_takeover_waits_for_a_write_under_way(tmp_path: Path) -> None:
    former, leader = Fence(tmp_path / "epoch"), Fence(tmp_path / "epoch")
    former.take()
    order: list[str] = []

    def take_over() -> None:
        leader.take()
        order.append("taken")

    taking = threading.Thread(target=take_over)
    with former.hold():
        taking.start()
        taking.join(0.3)
        order.append("written")
    taking.join(5)
    assert order == ["written", "taken"]


def test_writes_of_a_leader_do_not_wait_for_each_other(tmp_path: Path) -> None:
    fence = Fence(tmp_path / "epoch")
    fence.take()
    with fence.hold(), fence.hold():
        pass


def test_the_lease_has_one_holder(redis: "Redis") -> None:
    first, second = Lease(redis, shard="1of1"), Lease(redis, shard="1of1")
    assert first.acquire()
    assert not second.acquire()
    assert second.renew() is False
    assert first.renew() is True
    second.release()
    assert first.renew() is True
    first.release()
    assert second.acquire()


def test_shards_have_leases_of_their_own(redis: "Redis") -> None:
    assert Lease(redis, shard="1of2").acquire()
    assert Lease(redis, shard="2of2").acquire()


def test_a_lease_that_was_lost_with_redis_is_taken_again(redis: "Redis") -> None:
    lease = Lease(redis, shard="1of1")
    assert lease.acquire()
    redis.flushdb()
    assert lease.renew() is True
    assert not Lease(redis, shard="1of1").acquire()


def test_a_lease_ends_by_itself(redis: "Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signals.feed.lease.TTL_SECONDS", 0.2)
    assert Lease(redis, shard="1of1").acquire()
    other = Lease(redis, shard="1of1")
    eventually(other.acquire, seconds=5, every=0.02)


def test_no_answer_from_redis_takes_no_lead_away() -> None:
    nowhere = Lease(Redis(port=1, retry=Retry(NoBackoff(), 0)), shard="1of1")
    assert nowhere.renew() is None


_HOLDER = """
import sys
from redis import Redis
from signals.feed.lease import Lease
print(Lease(Redis.from_url(sys.argv[1]), shard="1of1").acquire(), flush=True)
sys.stdin.read()
"""


@pytest.mark.processes
def test_the_lease_of_a_killed_process_is_taken_at_once_and_of_a_live_one_never(redis: "Redis") -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, settings.REDIS_URLS[3]],
        cwd=settings.BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        lease = Lease(redis, shard="1of1")
        assert not lease.acquire()
        assert lease.holder is not None
        assert lease.holder["pid"] == holder.pid
        holder.kill()
        holder.wait()
        assert lease.acquire()
    held = redis.get("smc:stream:lease:1of1")
    assert held is not None
    assert json.loads(held)["pid"] != holder.pid
