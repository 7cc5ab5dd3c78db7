"""The stream of a process: started again when it fails, stopped when told, and telling how it is."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from django.conf import settings
from django.core.cache import cache
from redis import Redis

from markets.errors import FencedError
from markets.exchanges import StreamHealth
from markets.models import Pair
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from signals.feed import runner as module
from signals.feed.door import Door
from signals.feed.lead import Lead
from signals.feed.runner import StreamRunner
from signals.feed.vitals import Vitals
from signals.feed.wishes import Shard, read_wishes
from signals.push.status import read_status, write_status
from tests.waiting import eventually

pytestmark = pytest.mark.broker


class FakeStream:
    """A connected stream that says nothing."""

    health = StreamHealth(connections=1, last_message_at=time.monotonic())

    def server_time(self) -> int:
        return 1_717_243_200_000


class FakeFeed:
    """Stands for the feed; the first ``failures`` of them end by an error."""

    failures = 0
    made = 0

    leads: ClassVar[list[Lead]] = []

    def __init__(self, lead: Lead, *_: Any, **__: Any) -> None:
        type(self).made += 1
        self.leads.append(lead)
        self.series: dict[SeriesKey, Any] = {}
        self.stream = FakeStream()
        self.queue_depth = 0
        self._is_stopped = False

    def run(self) -> None:
        if self.made <= self.failures:
            raise ZeroDivisionError("frame 7")
        while not self._is_stopped:
            time.sleep(0.01)

    def stop(self) -> None:
        self._is_stopped = True

    def sync(self) -> None:
        """Nothing is wanted."""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[StreamRunner]:
    with Redis.from_url(settings.REDIS_URLS[3]) as redis:
        redis.flushdb()
    FakeFeed.failures = FakeFeed.made = 0
    FakeFeed.leads.clear()
    monkeypatch.setattr(module, "Feed", FakeFeed)
    monkeypatch.setattr(module, "track_first_pairs", lambda: 0)
    monkeypatch.setattr(module, "make_amends", lambda *_: 0)
    monkeypatch.setattr(settings, "VAR_ROOT", tmp_path)
    runner = StreamRunner()
    yield runner
    runner.stop()
    cache.clear()


def test_stream_task_supervised(runner: StreamRunner) -> None:
    """A stream that dies is told as down with its error, and runs again within 5 s."""
    FakeFeed.failures = 1
    runner.ensure()
    eventually(lambda: "ZeroDivisionError" in runner.error, every=0.001)
    eventually(lambda: runner.role == "leader" and FakeFeed.made == 2, seconds=5)
    assert runner.restarts == 1


def test_what_a_lead_left_under_way_is_fenced_by_the_next_of_the_same_process(runner: StreamRunner) -> None:
    """Or a recovery that outlived its feed would enter signals that nobody is told of."""
    FakeFeed.failures = 1
    runner.ensure()
    eventually(lambda: runner.role == "leader" and FakeFeed.made == 2, seconds=5)
    former, present = FakeFeed.leads
    with pytest.raises(FencedError), former.fence.hold():
        pass
    with pytest.raises(FencedError):
        former.check()
    present.check()
    with present.fence.hold():
        pass


def test_to_ensure_again_and_again_starts_one_stream(runner: StreamRunner) -> None:
    for _ in range(20):
        runner.ensure()
    eventually(lambda: FakeFeed.made == 1)
    runner.ensure()
    assert runner.role == "leader"
    assert FakeFeed.made == 1


def test_a_stream_that_was_stopped_gives_up_the_lead_and_is_not_started_again(runner: StreamRunner) -> None:
    runner.ensure()
    eventually(lambda: runner.role == "leader")
    runner.stop()
    assert runner.role == "stopped"
    runner.ensure()
    assert runner.role == "stopped"
    with Redis.from_url(settings.REDIS_URLS[3]) as redis:
        assert redis.get("smc:stream:lease:1of1") is None


def test_a_second_stream_stands_by_and_takes_over(runner: StreamRunner) -> None:
    runner.ensure()
    eventually(lambda: runner.role == "leader")
    other = StreamRunner()
    try:
        other.ensure()
        eventually(lambda: other.role == "standby")
        runner.stop()
        eventually(lambda: other.role == "leader")
        assert other.epoch > runner.epoch
    finally:
        other.stop()


def test_a_leader_whose_lease_is_taken_stands_by(runner: StreamRunner) -> None:
    runner.ensure()
    eventually(lambda: runner.role == "leader")
    with Redis.from_url(settings.REDIS_URLS[3]) as redis:
        redis.set("smc:stream:lease:1of1", json.dumps({"id": "other", "host": "elsewhere"}))
    eventually(lambda: runner.role == "standby")


def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def door(runner: StreamRunner) -> Iterator[Door]:
    door = Door(runner, host="127.0.0.1", port=0, opens=lambda presented: presented == b"s" * 32)
    yield door
    door.close()


def test_health_tells_who_leads_and_is_503_while_nothing_runs(runner: StreamRunner, door: Door) -> None:
    status, body = ask(door.port, "/health")
    assert (status, json.loads(body)["status"]) == (503, "down")
    runner.ensure()
    eventually(lambda: runner.role == "leader")
    status, body = ask(door.port, "/health")
    assert (status, json.loads(body)["role"]) == (200, "leader")


def test_metrics_are_prometheus_text_and_need_the_secret(runner: StreamRunner, door: Door) -> None:
    assert ask(door.port, "/metrics")[0] == 401
    assert ask(door.port, "/metrics", **{"X-Shared-Secret": "é"})[0] == 401
    status, text = ask(door.port, "/metrics", **{"X-Shared-Secret": "s" * 32})
    assert status == 200
    assert "smc_stream_leader 0.0" in text
    assert 'smc_stream_series{state="live"} 0.0' in text
    assert ask(door.port, "/else")[0] == 404


def test_every_metric_of_a_stream_is_told_of_in_the_guide(runner: StreamRunner, door: Door) -> None:
    runner.ensure()
    eventually(lambda: runner.role == "leader")
    names = re.findall(r"^# TYPE (\S+)", ask(door.port, "/metrics", **{"X-Shared-Secret": "s" * 32})[1], re.MULTILINE)
    guide = (settings.BASE_DIR / "docs" / "operations.md").read_text()
    assert len(names) > 8
    assert [name for name in names if not re.search(rf"`{name}[`{{]", guide)] == []


def test_a_secret_that_was_changed_counts_at_the_stream_s_door_too(runner: StreamRunner) -> None:
    secrets = {b"s" * 32}
    door = Door(runner, host="127.0.0.1", port=0, opens=lambda presented: presented in secrets)
    try:
        assert ask(door.port, "/metrics", **{"X-Shared-Secret": "s" * 32})[0] == 200
        secrets = {b"t" * 32}
        assert ask(door.port, "/metrics", **{"X-Shared-Secret": "s" * 32})[0] == 401
        assert ask(door.port, "/metrics", **{"X-Shared-Secret": "t" * 32})[0] == 200
    finally:
        door.close()


@pytest.mark.django_db
def test_the_status_of_all_shards_is_told_as_one_and_who_does_not_speak_is_down() -> None:
    keys = [SeriesKey.parse(text) for text in ("AAAUSDT:1m", "BBBUSDT:1m", "CCCUSDT:1m")]
    for key in keys:
        ensure_series(key, is_active=True)
    cache.clear()
    assert {row["state"] for row in read_status()["series"]} == {"down"}
    for number, key in enumerate(keys[:2], start=1):
        row = {"symbol": key.symbol, "timeframe": "1m", "state": "live", "last_candle": None, "lag_ms": 5.0}
        counts = dict.fromkeys(("rejected_frames", "rejected_candles", "reconnects", "queue_depth", "connections"), 2)
        told = {
            "state": "live",
            "leader": {"host": "here", "pid": number},
            "error": "",
            "exchange_time": None,
            "clock_skew_ms": 1.0,
            "lag_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0},
            "published": 0,
            **counts,
            "series": [row],
        }
        write_status(told, shard=number)
    status = read_status()
    assert [row["state"] for row in status["series"]] == ["live", "live", "down"]
    assert (status["leader"], status["reconnects"]) == ("here:1", 4)
    cache.clear()


@pytest.mark.django_db
def test_all_timeframes_of_a_pair_are_one_shards() -> None:
    for symbol in ("AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT", "EEEUSDT"):
        for timeframe in ("1m", "5m"):
            ensure_series(SeriesKey.of(symbol, timeframe), is_active=True)
    Pair.objects.filter(symbol="AAAUSDT").update(status="BREAK")
    parts = [read_wishes(Shard(number, 3)) for number in (1, 2, 3)]
    assert sum(len(part.series) for part in parts) == 10
    assert len({key.symbol for part in parts for key in part.series}) == 5
    for part in parts:
        assert len(part.series) == 2 * len({key.symbol for key in part.series})
    assert parts[0].halted == {"AAAUSDT"}


def test_lags_are_told_as_percentiles() -> None:
    vitals = Vitals()
    assert vitals.percentiles() == {"p50": None, "p95": None, "p99": None}
    for lag in range(101):
        vitals.note_lag(float(lag))
    assert vitals.percentiles() == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_the_clocks_difference_is_that_of_the_fastest_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    vitals = Vitals()
    assert vitals.skew is None
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    for late in (50, 3, 70):
        vitals.note_time(1_000_000 - late)
    assert vitals.skew == 3.0
