"""Backfills from the replay exchange: complete, repeatable, honest about what the exchange has not."""

import itertools
import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone
from redis import Redis

from markets.candles import Gap
from markets.errors import InvalidInputError, JobCancelledError, UnknownSymbolError
from markets.exchanges.binance import BinanceExchange
from markets.exchanges.limits import RequestBudget
from markets.models import Backfill, ExchangeGap, JobState, Revision
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services import backfilling, jobs
from markets.services.backfilling import PROOF_AFTER, BackfillSource, Filled, backfill, plan_backfill
from markets.services.recording import record
from markets.store import Source
from markets.tasks import run_backfill
from tests.markets.store.disks import in_a_fork
from tests.replaying import START, LocalReplay, replay
from tests.waiting import eventually

pytestmark = pytest.mark.django_db

HOUR, DAY = 3_600_000, 86_400_000
_numbers = itertools.count()


@pytest.fixture
def symbol() -> str:
    """A symbol of its own for each test, since the store outlives it."""
    return f"FILL{next(_numbers)}USDT"


@pytest.fixture
def market(symbol: str) -> Iterator[LocalReplay]:
    with replay(symbols=[symbol], speed=0.0, start=START + 10 * 60_000) as exchange:
        yield exchange


def connected(market: LocalReplay, *, has_archive: bool = True) -> BinanceExchange:
    budget = RequestBudget(Redis.from_url(settings.REDIS_URLS[3]))
    return BinanceExchange(market.url, market.ws_url, market.url if has_archive else None, budget=budget)


@pytest.fixture
def client(market: LocalReplay) -> BinanceExchange:
    return connected(market)


def fill(
    client: BinanceExchange,
    series: SeriesKey,
    start: int,
    end: int | None = None,
    source: BackfillSource = BackfillSource.AUTO,
) -> Filled:
    return backfill(client, plan_backfill(client, series, start=start, end=end, source=source))


@pytest.mark.parametrize("source", list(BackfillSource))
def test_a_range_is_stored_as_the_exchange_has_it_and_a_second_run_adds_nothing(
    client: BinanceExchange, market: LocalReplay, symbol: str, source: BackfillSource
) -> None:
    series = SeriesKey.of(symbol, "15m")
    end = START - START % DAY
    start = end - 40 * DAY
    filled = fill(client, series, start, end, source)
    expected = market.oracle(series, start, end)
    stored = candle_store().read(series, start=start, end=end)
    assert filled.added == len(expected) == len(stored) == 40 * 96
    assert filled.gaps == ()
    for name in ("open_time", "open", "high", "low", "close", "volume"):
        assert (getattr(stored, name) == getattr(expected, name)).all(), name
    assert fill(client, series, start, end, source).added == 0


def test_only_what_is_missing_is_fetched(client: BinanceExchange, market: LocalReplay, symbol: str) -> None:
    series = SeriesKey.of(symbol, "5m")
    hours = START - START % HOUR
    fill(client, series, hours - 10 * HOUR, hours - 8 * HOUR)
    fill(client, series, hours - 4 * HOUR, hours - 2 * HOUR)
    plan = plan_backfill(client, series, start=hours - 10 * HOUR, end=hours, source=BackfillSource.REST)
    assert [(gap.start, gap.end) for gap in plan.missing] == [
        (hours - 8 * HOUR, hours - 4 * HOUR),
        (hours - 2 * HOUR, hours),
    ]
    assert backfill(client, plan).added == plan.candles == 6 * 12


def test_a_candle_that_is_not_settled_is_not_asked_for(
    client: BinanceExchange, market: LocalReplay, symbol: str
) -> None:
    """Within 5 s of its close a candle may change yet."""
    series = SeriesKey.of(symbol, "1m")
    minute = START - START % 60_000
    market.set_clock(now=minute + 4_000)
    assert (
        plan_backfill(client, series, start=minute - HOUR, end=None, source=BackfillSource.REST).end == minute - 60_000
    )
    market.set_clock(now=minute + 5_000)
    assert plan_backfill(client, series, start=minute - HOUR, end=None, source=BackfillSource.REST).end == minute


def test_an_end_in_the_future_is_cut_with_a_note(client: BinanceExchange, symbol: str) -> None:
    series = SeriesKey.of(symbol, "1h")
    filled = fill(client, series, START - 10 * HOUR, START + 100 * HOUR)
    assert filled.added == 10
    assert any("future" in note for note in filled.notes)


def test_an_end_before_the_start_and_a_pair_that_is_not_listed_are_refused(
    client: BinanceExchange, symbol: str
) -> None:
    with pytest.raises(InvalidInputError, match="after from"):
        plan_backfill(client, SeriesKey.of(symbol, "1h"), start=START, end=START - HOUR, source=BackfillSource.AUTO)
    with pytest.raises(UnknownSymbolError, match="NOSUCH"):
        plan_backfill(client, SeriesKey.of("NOSUCH", "1h"), start=START - HOUR, end=None, source=BackfillSource.AUTO)


def test_exchange_gap_recorded(client: BinanceExchange, market: LocalReplay, symbol: str) -> None:
    """F30: a hole in the middle of a page is passed over, suspected once, proven twice and no gap of ours then."""
    series = SeriesKey.of(symbol, "5m")
    hours = START - START % HOUR
    hole = (hours - 3 * HOUR, hours - 2 * HOUR)
    market.fault("hole", symbol=symbol, at=hole[0], minutes=60)
    first = fill(client, series, hours - 6 * HOUR, hours, BackfillSource.REST)
    assert [(gap.start, gap.end) for gap in first.gaps] == [hole]
    noted = ExchangeGap.objects.get()
    assert noted.proven_at is None
    ExchangeGap.objects.update(first_read_at=timezone.now() - PROOF_AFTER)
    assert fill(client, series, hours - 6 * HOUR, hours, BackfillSource.REST).gaps == ()
    assert ExchangeGap.objects.filter(proven_at__isnull=False).count() == 1
    plan = plan_backfill(client, series, start=hours - 6 * HOUR, end=hours, source=BackfillSource.AUTO)
    assert plan.missing == ()


def test_a_backfill_tells_only_of_the_exchange_s_gaps_in_its_range(
    client: BinanceExchange, market: LocalReplay, symbol: str
) -> None:
    series = SeriesKey.of(symbol, "5m")
    hours = START - START % HOUR
    for begin in (hours - 9 * HOUR, hours - 3 * HOUR):
        market.fault("hole", symbol=symbol, at=begin, minutes=60)
    fill(client, series, hours - 12 * HOUR, hours, BackfillSource.REST)
    assert ExchangeGap.objects.count() == 2
    later = fill(client, series, hours - 6 * HOUR, hours, BackfillSource.REST)
    assert later.exchange_gaps == (Gap(hours - 3 * HOUR, hours - 2 * HOUR),)
    assert fill(client, series, hours - 2 * HOUR, hours, BackfillSource.REST).exchange_gaps == ()


def test_gap_no_infinite_retry(client: BinanceExchange, market: LocalReplay, symbol: str) -> None:
    """F31: what the exchange never had is asked for twice, a minute apart, and then never again."""
    series = SeriesKey.of(symbol, "5m")
    hours = START - START % HOUR
    market.fault("hole", symbol=symbol, at=hours - 3 * HOUR, minutes=60)

    def pages_asked() -> int:
        before = market.status()["requests"]["/api/v3/klines"]
        fill(client, series, hours - 6 * HOUR, hours)
        return int(market.status()["requests"]["/api/v3/klines"] - before)

    fill(client, series, hours - 6 * HOUR, hours)
    assert pages_asked() > 0
    assert ExchangeGap.objects.get().proven_at is None
    ExchangeGap.objects.update(first_read_at=timezone.now() - PROOF_AFTER)
    assert pages_asked() > 0
    assert ExchangeGap.objects.get().proven_at is not None
    assert [pages_asked() for _ in range(5)] == [0] * 5


def test_backfill_kill_each_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """F33: killed at any page, what was committed stays, and the next run fetches the rest and nothing twice."""
    monkeypatch.setattr(backfilling, "_PAGE", 100)
    monkeypatch.setattr(backfilling, "_PAGES_A_COMMIT", 2)
    pages, kills = 6, 0
    series = [SeriesKey.of(f"KILL{page}USDT", "1m") for page in range(pages + 1)]
    start, end = START - pages * 100 * 60_000, START
    with replay(symbols=[each.symbol for each in series], speed=0.0, start=START + 10 * 60_000) as market:
        for page, each in enumerate(series, start=1):
            kills += in_a_fork(partial(_backfill_until_killed, market, each, page, start, end)) == -signal.SIGKILL
            kept = candle_store().read(each, start=start, end=end)
            assert [*kept] == [*market.oracle(each, start, start + (page - 1) // 2 * 200 * 60_000)]
            asked = market.status()["requests"]["/api/v3/klines"]
            filled = fill(connected(market), each, start, end, BackfillSource.REST)
            assert filled.added == pages * 100 - len(kept)
            # The first candle of all is asked for beside the pages that lack.
            assert market.status()["requests"]["/api/v3/klines"] - asked == 1 + filled.added // 100
            assert [*candle_store().read(each, start=None, end=None)] == [*market.oracle(each, start, end)]
            assert candle_store().verify(each).problems == ()
    assert kills == pages


def _backfill_until_killed(market: LocalReplay, series: SeriesKey, page: int, start: int, end: int) -> None:
    """Die when so many pages have come. Nothing of the parent's connections and memory is used."""
    candle_store.cache_clear()
    client = connected(market)
    ask, numbers = client.candles, itertools.count()

    def ask_or_die(*arguments: Any, **options: Any) -> Any:
        found = ask(*arguments, **options)
        if next(numbers) == page:  # the first is about the listing
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    client.candles = ask_or_die  # type: ignore[method-assign]
    fill(client, series, start, end, BackfillSource.REST)


def test_a_run_that_is_stopped_keeps_what_it_stored_and_the_next_goes_on(
    client: BinanceExchange, market: LocalReplay, symbol: str
) -> None:
    series = SeriesKey.of(symbol, "1m")
    end = START - START % HOUR
    start = end - 50_000 * 60_000

    def stop_half_way(fraction: float, stage: str) -> None:
        if fraction > 0.4:
            raise JobCancelledError("stopped")

    with pytest.raises(JobCancelledError):
        backfill(client, plan_backfill(client, series, start=start, end=end, source=BackfillSource.REST), stop_half_way)
    kept = len(candle_store().read(series, start=start, end=end))
    assert 20_000 <= kept < 50_000
    assert fill(client, series, start, end, BackfillSource.REST).added == 50_000 - kept
    assert candle_store().verify(series).problems == ()


def test_without_an_archive_a_long_range_comes_by_rest(market: LocalReplay, symbol: str) -> None:
    series = SeriesKey.of(symbol, "5m")
    end = START - START % DAY
    testnet = connected(market, has_archive=False)
    plan = plan_backfill(testnet, series, start=end - 40 * DAY, end=end, source=BackfillSource.AUTO)
    assert (plan.files, plan.candles) == ((), 40 * 288)
    filled = backfill(testnet, plan)
    assert (filled.added, filled.gaps) == (40 * 288, ())


def test_an_archive_that_there_is_not_is_refused_in_one_line(
    market: LocalReplay, symbol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    testnet = connected(market, has_archive=False)
    monkeypatch.setattr("markets.management.commands.backfill.open_exchange", lambda: testnet)
    with pytest.raises(CommandError) as refused:
        call_command("backfill", "--symbol", symbol, "--timeframe", "5m", "--source", "archive")
    assert refused.value.returncode == 2
    assert str(refused.value) == "source must be auto or rest: the testnet has no archive"


def test_a_damaged_archive_file_is_left_to_rest(client: BinanceExchange, market: LocalReplay, symbol: str) -> None:
    series = SeriesKey.of(symbol, "5m")
    end = START - START % DAY
    market.fault("archive_checksum")
    filled = fill(client, series, end - 40 * DAY, end)
    assert (filled.added, filled.gaps) == (40 * 288, ())


def test_a_candle_that_the_exchange_changed_is_replaced_and_leaves_a_revision(
    client: BinanceExchange, market: LocalReplay, symbol: str
) -> None:
    series = SeriesKey.of(symbol, "1h")
    hours = START - START % HOUR
    fill(client, series, hours - 10 * HOUR, hours)
    candles = market.oracle(series, hours - 10 * HOUR, hours)
    changed = candles.copy()
    # Not the high or the low, where some of these random candles close anyway.
    changed.close[3] = candles.low[3] + 0.31 * (candles.high[3] - candles.low[3])
    merged = record(series, changed, source=Source.REST)
    assert [each.open_time for each in merged.revised] == [int(candles.open_time[3])]
    row = Revision.objects.get()
    assert (row.open_time, row.source) == (int(candles.open_time[3]), "rest")
    assert row.before[3] == candles.close[3]
    assert row.after[3] == changed.close[3]


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("archive_corrupt", "is not what its checksum says"),
        ("archive_checksum", "is not what its checksum says"),
        ("archive_missing", "is not in the archive"),
    ],
)
def test_the_job_s_row_says_why_a_file_of_the_archive_was_left_out(
    client: BinanceExchange, market: LocalReplay, symbol: str, monkeypatch: pytest.MonkeyPatch, verb: str, said: str
) -> None:
    """The candles come by REST then, and the job is done; its result names the file and the reason."""
    monkeypatch.setattr("markets.tasks.open_exchange", lambda: client)
    market.fault(verb)
    start = START - START % DAY - 62 * DAY  # the 31st of March: one day, then all of April, then May
    job = jobs.submit(Backfill(symbol=symbol, timeframe="15m", start=start, end=start + 31 * DAY, source="auto"))
    run_backfill(job.pk)
    ended = Backfill.objects.get(pk=job.pk)
    assert ended.result is not None
    assert (ended.state, ended.result["added"], ended.result["gaps"]) == (JobState.DONE, 31 * 96, [])
    assert f"archive: {symbol}-15m-2024-04.zip {said}" in ended.result["notes"]


def test_the_job_s_row_says_which_pair_the_exchange_does_not_know(
    client: BinanceExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("markets.tasks.open_exchange", lambda: client)
    job = jobs.submit(Backfill(symbol="NOSUCHUSDT", timeframe="15m", start=START - DAY, end=START, source="auto"))
    run_backfill(job.pk)
    ended = Backfill.objects.get(pk=job.pk)
    assert ended.state == JobState.FAILED
    assert "NOSUCHUSDT" in ended.error
    assert candle_store().coverage(job.series_key) is None


def test_a_backfill_whose_exchange_is_away_is_delayed_and_ends_well_when_it_is_back(
    client: BinanceExchange, market: LocalReplay, symbol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F29: what was asked for is not lost with the exchange's refusal, and the page says what it waits for."""
    monkeypatch.setattr("markets.tasks.open_exchange", lambda: client)
    market.fault("http", status=429, retry_after=1)
    job = jobs.submit(Backfill(symbol=symbol, timeframe="15m", start=START - DAY, end=START, source="rest"))
    run_backfill(job.pk)
    delayed = Backfill.objects.get(pk=job.pk)
    assert (delayed.state, delayed.attempts) == (JobState.QUEUED, 0)
    assert delayed.stage.startswith("delayed until ")
    assert "rate limited" in delayed.stage
    assert delayed.not_before is not None
    assert list(jobs.due(Backfill, now=delayed.not_before)) == [job.pk]

    def is_done() -> bool:
        Backfill.objects.filter(pk=job.pk).update(not_before=timezone.now())
        run_backfill(job.pk)
        return Backfill.objects.get(pk=job.pk).state == JobState.DONE

    eventually(is_done, every=0.2)
    ended = Backfill.objects.get(pk=job.pk)
    assert ended.result is not None
    assert (ended.result["added"], ended.stage) == (96, "")


def test_a_backfill_over_its_time_says_so_and_what_is_kept(
    client: BinanceExchange, market: LocalReplay, symbol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's warning comes amid a question that is never answered."""

    def warn(_number: int, _frame: object) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr("markets.tasks.open_exchange", lambda: client)
    market.fault("timeout", path="klines", count=None)
    job = jobs.submit(Backfill(symbol=symbol, timeframe="15m", start=START - DAY, end=START, source="rest"))
    former = signal.signal(signal.SIGALRM, warn)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        run_backfill(job.pk)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, former)
    ended = Backfill.objects.get(pk=job.pk)
    said = "time limit 118 min, what was fetched is kept: ask again for the rest"
    assert (ended.state, ended.error) == (JobState.FAILED, said)


def test_before_listing(client: BinanceExchange, market: LocalReplay, symbol: str) -> None:
    """F35: a start before the first candle is cut to it, with a note and without a gap."""
    series = SeriesKey.of(symbol, "1h")
    listed = START - START % DAY - 3 * DAY
    market.fault("hole", symbol=symbol, at=0, until=listed)
    filled = fill(client, series, listed - 10 * DAY, listed + 2 * DAY, BackfillSource.REST)
    assert (filled.added, filled.gaps) == (48, ())
    assert any(note.startswith("data starts at ") for note in filled.notes)
