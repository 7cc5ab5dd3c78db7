"""The service on real PostgreSQL and Redis: two webs, two workers, a stream that leads and one that stands by."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.operations.cluster import postgres
from tests.operations.site import Answer, Site, Web, backfill, stopped
from tests.replaying import START, replay
from tests.waiting import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.broker, pytest.mark.processes]

LIMIT = 30
FULL = os.environ.get("SMC_FULL") == "1"
SWEEP = {
    "symbol": "BTCUSDT", "timeframe": "1m",
    "axes": {"stop_atr": [1 + k / 10 for k in range(16)], "swing_length": [3, 5, 8]},
}  # fmt: skip
# Of each sweep how many parts were saved; a job without any would be a half of one.
PARTS = (
    "SELECT j.id, count(p.id) AS parts FROM markets_job j LEFT JOIN backtests_analysis a ON a.job_ptr_id = j.id"
    " LEFT JOIN backtests_analysispart p ON p.analysis_id = j.id WHERE j.kind = 'analysis' GROUP BY j.id"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All parts, started at once; a part that a test ended is started again by the next that asks for it."""
    with postgres() as url, replay(symbols=["BTCUSDT", "ETHUSDT"], speed=60.0, start=START) as exchange:
        found = Site(
            tmp_path_factory.mktemp("scale"), exchange, database_url=url, SYMBOLS="BTCUSDT", TIMEFRAMES="1m",
            HISTORY_DAYS="1", RATE_LIMIT=f"{LIMIT}/d",
        )  # fmt: skip
        try:
            found.start_all()
            yield found
        finally:
            found.close()


def test_jobs_that_either_web_takes_are_each_done_once(site: Site) -> None:
    """A key that both webs hear at the same moment is one job; whichever web is asked knows all of them."""
    webs, _ = site.webs(), site.workers()
    numbers = [next(site.numbers) for _ in range(12)]
    wanted = [(web, number, f"once-{number}") for number in numbers[:4] for web in webs]  # each of these twice
    wanted += [(webs[number % 2], number, "") for number in numbers[4:]]

    def submit(request: tuple[Web, int, str]) -> Answer:
        web, number, key = request
        return web.ask("/api/v1/backfills/", backfill(number), key=key)

    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(submit, wanted))
    assert {answer.status for answer in answers} == {202}, [answer.body for answer in answers]
    ids = {answer.json["id"] for answer in answers}
    assert len(ids) == 12
    for web in webs:
        eventually(lambda web=web: web.job_states(ids) == {"done"}, seconds=120, every=0.1)  # type: ignore[misc]
    assert site.attempts(ids) == {1}


def test_calls_count_at_both_webs_together(site: Site) -> None:
    webs = site.webs()
    answers = [web.ask("/api/v1/pairs/", address="203.0.113.7").status for _ in range(LIMIT) for web in webs]
    assert answers == [200] * LIMIT + [429] * LIMIT
    assert [web.ask("/api/v1/pairs/", address="203.0.113.8").status for web in webs] == [200, 200]


def test_web_kill(site: Site) -> None:
    """F79: what a web had in hand when it was killed is there wholly or not at all; the other web never falters."""
    other, victim = site.webs()
    site.await_live(site.streams())  # a sweep is of stored candles
    ended = threading.Event()

    def look() -> set[int]:
        seen = set()
        while not ended.is_set():
            seen.add(other.ask("/web/").status)
        return seen

    with ThreadPoolExecutor(5) as callers:
        looking = callers.submit(look)
        acknowledged: list[int] = []

        def submit() -> None:
            while (answer := victim.ask("/api/v1/sweeps/", SWEEP)).status == 202:
                acknowledged.append(answer.json["id"])
            assert answer.status == 0, answer.body

        try:
            submitting = [callers.submit(submit) for _ in range(4)]
            eventually(lambda: len(acknowledged) >= 6 or any(each.done() for each in submitting), seconds=60)
            victim.process.kill()
            for each in submitting:
                each.result(60)
        finally:
            ended.set()
        assert looking.result(60) == {200}
    parts = site.rows(PARTS)
    assert set(acknowledged) <= {row["id"] for row in parts}
    assert {row["parts"] for row in parts} == {16}


def test_submit_redis_down(site: Site) -> None:
    """F71: the row waits for the broker, and is done when the broker is back."""
    webs, _ = site.webs(), site.workers()
    site.broker.kill()
    answers = [web.ask("/api/v1/backfills/", backfill(next(site.numbers))) for web in webs]
    stages = site.rows("SELECT DISTINCT stage FROM markets_job WHERE state = 'queued' AND kind = 'backfill'")
    site.broker.start()
    assert {answer.status for answer in answers} == {202}, [answer.body for answer in answers]
    assert stages == [{"stage": "waiting for the broker"}]
    site.await_done({answer.json["id"] for answer in answers})


def test_redis_flush_recovers(site: Site) -> None:
    """F72: of jobs whose messages were lost none is lost, and none is done twice."""
    web, workers = site.webs()[0], site.workers()
    with stopped(*workers):
        answers = [web.ask("/api/v1/backfills/", backfill(next(site.numbers))) for _ in range(6)]
        ids = {answer.json["id"] for answer in answers}
        site.broker.client(0).flushdb()
    site.await_done(ids)
    assert site.attempts(ids) == {1}


def test_redis_kill_mid_load(site: Site) -> None:
    """P16: pages stay, submits are taken or politely refused, no accepted job and no candle is lost."""
    webs, _, streams = site.webs(), site.workers(), site.streams()
    site.await_live(streams)
    pages = Load(lambda turn: webs[turn % 2].ask("/web/" if turn % 4 < 2 else "/web/data"))
    submits = Load(lambda turn: webs[turn % 2].ask("/api/v1/backfills/", backfill(next(site.numbers))))
    with pages, submits:
        for _ in range(3 if FULL else 1):
            submits.go_on(2)
            site.broker.kill()
            pages.go_on(4)
            submits.go_on(4)
            site.broker.start()
        pages.go_on(4)
        submits.go_on(2)
    assert {answer.status for answer in pages.answers} == {200}
    assert {answer.status for answer in submits.answers} <= {202, 503}, [each.body for each in submits.answers]
    assert all(answer.headers["Retry-After"] for answer in submits.answers if answer.status == 503)
    site.await_done({answer.json["id"] for answer in submits.answers if answer.status == 202})
    site.await_live(streams)  # none has ended; which of them leads now is theirs to settle
    stored, expected = site.stored_and_expected()
    assert stored == expected


def test_both_webs_push_what_the_leader_publishes_and_a_standby_goes_on(site: Site) -> None:
    """The same numbers with the same texts at either web, before and after the leader was killed."""
    webs, streams = site.webs(), site.streams()
    leader = site.await_live(streams)
    with ExitStack() as sockets:
        ears = [sockets.enter_context(Ear(web, "k:BTCUSDT:1m")) for web in webs]
        eventually(lambda: all(len(ear.texts) >= 2 for ear in ears), seconds=60)
        leader.kill()
        leader.wait()
        heard = max(max(ear.texts) for ear in ears)
        site.await_live([each for each in streams if each is not leader])
        eventually(lambda: all(max(ear.texts) > heard + 2 for ear in ears), seconds=60)
        told = [dict(ear.texts) for ear in ears]
    both = told[0].keys() & told[1].keys()
    assert min(both) <= heard < max(both)
    assert all(told[0][number] == told[1][number] for number in both)
    rows = site.rows("SELECT symbol, scale, kind, direction, event_time, ref_time FROM signals_publishedsignal")
    assert len(rows) == len({tuple(row.values()) for row in rows})


def test_sigterm_each_process(site: Site) -> None:
    """P15: each ends by itself, with exit code 0, while the service is at work."""
    webs, workers, streams = site.webs(), site.workers(), site.streams()
    site.await_live(streams)
    beat = site.beat()
    eventually(lambda: "scheduler" in str(site.broker.client(3).zrange("smc:heartbeats", 0, -1)), seconds=60)
    answers = [web.ask("/api/v1/backfills/", backfill(next(site.numbers))) for web in webs for _ in range(4)]
    ending = [beat, workers[0], *streams, webs[1].process]
    for process in ending:
        process.terminate()
    assert [process.wait(10 if FULL else 60) for process in ending] == [0] * len(ending), site.log[-3_000:]
    site.await_done({answer.json["id"] for answer in answers})


@pytest.mark.full
def test_a_backup_of_postgresql_under_load_is_of_one_moment(site: Site, tmp_path: Path) -> None:
    """P23: no row is in it without the one it belongs to, and it restores into an empty database and folder."""
    web = site.webs()[0]
    site.await_live(site.streams())
    with Load(lambda _: web.ask("/api/v1/sweeps/", SWEEP)) as submits:
        submits.go_on(4)
        site.manage("backup", str(tmp_path / "all.smc"))
        submits.go_on(1)
    elsewhere = {"DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": site.another_database("restored")}
    site.manage("restore", str(tmp_path / "all.smc"), **elsewhere)
    site.manage("verify_store", **elsewhere)
    restored = site.rows(PARTS, database_url=elsewhere["DATABASE_URL"])
    assert len(restored) >= 4
    assert {row["parts"] for row in restored} == {16}


class Load:
    """Asks again and again from a thread of its own until the block ends."""

    def __init__(self, ask: Callable[[int], Answer]) -> None:
        self.answers: list[Answer] = []
        self._ask = ask
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ended.is_set():
            self.answers.append(self._ask(len(self.answers)))

    def go_on(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answers) + count
        eventually(lambda: len(self.answers) >= wanted, seconds=120)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


class Ear:
    """A socket that keeps what it hears of a series' closed candles, by number."""

    def __init__(self, web: Web, channel: str) -> None:
        self.texts: dict[int, str] = {}
        self._url, self._channel = f"ws://127.0.0.1:{web.port}/ws/live/", channel
        self._stack = ExitStack()

    def _listen(self, socket: ClientConnection) -> None:
        for text in socket:
            message = json.loads(text)
            if message.get("closed"):
                self.texts[message["seq"]] = str(text)

    def __enter__(self) -> Self:
        socket = self._stack.enter_context(connect(self._url))
        socket.send(json.dumps({"op": "sub", "ch": [self._channel]}))
        thread = threading.Thread(target=self._listen, args=(socket,), daemon=True)
        self._stack.callback(thread.join)
        self._stack.callback(socket.close)
        thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
