"""What is done for a series next, and how it is called."""

import itertools
import time
from types import SimpleNamespace
from typing import Any

import pytest

from markets.candles import Candle, Gap
from markets.errors import ExchangeUnavailableError, RateLimitedError, SmcError, StoreError
from markets.exchanges import CandleUpdate
from markets.series import SeriesKey
from signals.feed import followed as module
from signals.feed.followed import Followed, Job, State
from signals.feed.series import Recovered, Taken

SERIES = SeriesKey.parse("BTCUSDT:1m")
MINUTE = 60_000


def update(minute: int, *, is_closed: bool = True) -> CandleUpdate:
    candle = Candle(minute * MINUTE, 1.0, 1.0, 1.0, 1.0, 0.0)
    return CandleUpdate(SERIES, candle, is_closed, (minute + 1) * MINUTE, time.monotonic())


def work(*, is_tidy: bool = True, is_watched: bool = True, minute: int = 0) -> Any:
    """Return what ``Followed`` asks of a series' work, which is done elsewhere."""
    return SimpleNamespace(is_tidy=is_tidy, is_watched=is_watched, through=minute * MINUTE)


@pytest.fixture
def followed() -> Followed:
    """A series that is up to date."""
    now = time.monotonic()
    series = Followed(work(), ask_at=now)
    series.is_behind = False
    return series


def test_a_new_series_is_recovered_before_anything_is_taken() -> None:
    now = time.monotonic()
    series = Followed(work(), ask_at=now + 3)
    series.note_update(update(1))
    assert series.next_job(now, is_calm=True) is None
    assert series.next_job(now + 3, is_calm=True) == Job.RECOVER
    assert series.state(now, is_connected=True) == State.CATCHING_UP


def test_while_a_job_is_under_way_no_other_begins(followed: Followed) -> None:
    followed.note_update(update(1))
    followed.job = Job.TAKE
    assert followed.next_job(time.monotonic(), is_calm=True) is None


def test_a_closed_candle_comes_before_a_forming_one_and_ends_it(followed: Followed) -> None:
    followed.note_update(update(1, is_closed=False))
    assert followed.next_job(time.monotonic(), is_calm=True) == Job.PREVIEW
    followed.note_update(update(1))
    assert followed.forming is None
    assert followed.next_job(time.monotonic(), is_calm=True) == Job.TAKE


def test_forming_candles_are_told_four_times_a_second(followed: Followed) -> None:
    now = time.monotonic()
    followed.note_update(update(1, is_closed=False))
    followed.previewed_at = now
    assert followed.next_job(now + 0.2, is_calm=True) is None
    assert followed.next_job(now + 0.25, is_calm=True) == Job.PREVIEW


def test_what_nobody_waits_for_is_done_in_a_calm_moment_only(followed: Followed) -> None:
    now = time.monotonic()
    followed.work = work(is_tidy=False)
    followed.note_update(update(1, is_closed=False))
    assert followed.next_job(now, is_calm=False) is None
    assert followed.next_job(now, is_calm=True) == Job.TIDY
    followed.work = work()
    assert followed.next_job(now, is_calm=True) == Job.PREVIEW
    followed.work = work(is_watched=False)
    assert followed.next_job(now, is_calm=True) is None


def test_a_hole_holds_the_candles_behind_it_until_rest_was_asked(followed: Followed) -> None:
    left = (update(5), update(6))
    followed.note_taken(Taken(2 * MINUTE, 1, left, Gap(3 * MINUTE, 5 * MINUTE)))
    assert list(followed.held) == list(left)
    assert followed.next_job(time.monotonic(), is_calm=True) == Job.RECOVER
    assert followed.state(time.monotonic(), is_connected=True) == State.GAPPED
    followed.note_recovered(Recovered(4 * MINUTE))
    followed.is_behind = False
    assert followed.next_job(time.monotonic(), is_calm=True) == Job.TAKE


def test_a_hole_the_exchange_may_fill_yet_is_asked_for_again(followed: Followed) -> None:
    followed.note_recovered(Recovered(2 * MINUTE, Gap(3 * MINUTE, 5 * MINUTE)))
    now = time.monotonic()
    assert followed.next_job(now, is_calm=True) is None
    assert followed.next_job(now + 10, is_calm=True) == Job.RECOVER
    assert followed.state(now, is_connected=True) == State.GAPPED


def test_failures_are_paused_ever_longer_up_to_a_limit(followed: Followed) -> None:
    pauses = [followed.note_failure(ExchangeUnavailableError("away")) for _ in range(2_000)]
    assert pauses[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert set(pauses[7:]) == {30}
    assert followed.state(time.monotonic(), is_connected=True) == State.DOWN
    assert "away" in followed.error
    followed.fall_behind()
    assert followed.next_job(time.monotonic(), is_calm=True) is None


def test_a_pause_the_exchange_asked_for_is_kept(followed: Followed) -> None:
    assert followed.note_failure(RateLimitedError("banned", retry_after_seconds=120)) == 120


@pytest.mark.parametrize(
    "error", [RateLimitedError("banned", retry_after_seconds=7_200), ExchangeUnavailableError("away")]
)
def test_the_stream_goes_on_without_rest_for_as_long_as_each_candle_follows(
    followed: Followed, error: SmcError
) -> None:
    followed.note_taken(Taken(MINUTE, 1))
    followed.work = work(minute=1)
    followed.note_failure(error)
    followed.fall_behind()
    now = time.monotonic()
    assert followed.next_job(now, is_calm=True) is None
    followed.note_update(update(2))
    assert followed.next_job(now, is_calm=True) == Job.TAKE
    followed.held.clear()
    followed.note_taken(Taken(2 * MINUTE, 1))
    followed.work = work(minute=2)
    assert followed.error
    assert followed.state(now, is_connected=True) == State.LIVE
    followed.note_update(update(4))
    assert followed.next_job(now, is_calm=True) is None
    followed.note_overdue(now)
    assert followed.state(now, is_connected=True) == State.DOWN
    assert followed.next_job(followed.ask_at, is_calm=True) == Job.RECOVER
    followed.note_recovered(Recovered(3 * MINUTE))
    assert not followed.error


def test_what_failed_for_another_reason_is_mended_before_anything_is_taken(followed: Followed) -> None:
    followed.work = work(minute=1)
    followed.note_failure(StoreError("the disk is full"))
    followed.note_update(update(2))
    assert followed.next_job(time.monotonic(), is_calm=True) is None


def test_too_much_held_back_is_fetched_instead(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_HELD", 3)
    for minute in range(5):
        followed.note_update(update(minute))
    assert len(followed.held) <= 3
    assert followed.next_job(time.monotonic(), is_calm=True) == Job.RECOVER


def test_an_overdue_candle_is_asked_for_after_a_second_and_then_more_seldom(followed: Followed) -> None:
    began = time.monotonic()
    asked = []
    for tenth in range(1_200):
        now = began + tenth / 10
        followed.note_overdue(now)
        if followed.check_at is not None:
            asked.append(now - began)
            followed.check_at = None
    assert 0.9 < asked[0] < 1.2
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 29
    assert followed.state(began + 120, is_connected=True) == State.STALE


def test_a_candle_that_came_ends_the_worry(followed: Followed) -> None:
    now = time.monotonic()
    followed.note_overdue(now - 5)
    followed.note_taken(Taken(MINUTE, 1))
    assert followed.overdue_since is None
    assert followed.state(now, is_connected=True) == State.LIVE


def test_a_market_without_trading_is_halted_and_not_stale(followed: Followed) -> None:
    now = time.monotonic()
    followed.is_halted = True
    followed.note_overdue(now - 5)
    assert followed.state(now, is_connected=True) == State.HALTED


def test_without_a_connection_nothing_is_live(followed: Followed) -> None:
    assert followed.state(time.monotonic(), is_connected=False) == State.STALE


def test_changes_by_another_process_are_judged(followed: Followed) -> None:
    followed.note_edit(0)
    assert followed.next_job(time.monotonic(), is_calm=True) is None
    followed.note_edit(1)
    assert followed.next_job(time.monotonic(), is_calm=True) == Job.REFRESH


def test_a_hole_that_stays_is_asked_for_ever_later_and_then_given_up(followed: Followed) -> None:
    stray, gap = update(5_000), Gap(MINUTE, 5_000 * MINUTE)
    pauses: list[float] = []
    while not pauses or followed.held:
        followed.held.clear()
        followed.note_taken(Taken(MINUTE, 0, (stray,), gap))
        pauses.append(round(followed.ask_at - time.monotonic(), 1))
        assert len(pauses) < 20
    assert pauses == sorted(pauses)
    assert sum(max(0.0, pause) for pause in pauses) > 30
    assert followed.gap is None
