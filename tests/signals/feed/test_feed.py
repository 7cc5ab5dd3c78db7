"""What the feed does first when there is more to do than time."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from markets.candles import Candle
from markets.exchanges import CandleUpdate
from markets.series import SeriesKey
from signals.feed import feed as feed_module
from signals.feed.feed import Feed
from signals.feed.followed import Followed, Job
from signals.feed.series import Recovered, Taken
from signals.feed.vitals import Vitals
from signals.feed.wishes import Wishes
from tests.waiting import eventually

SERIES, OTHER = SeriesKey.parse("BTCUSDT:1m"), SeriesKey.parse("ETHUSDT:1m")
OPEN = 1_717_243_200_000


class Work:
    """Stands for the work of a series and notes what is asked of it."""

    def __init__(self, done: list[str] | None = None, *, name: str = "take", is_news: bool = False) -> None:
        self.done: list[str] = done if done is not None else []
        self.name, self.is_news = name, is_news
        self.is_watched = self.is_tidy = True

    def preview(self, update: CandleUpdate) -> None:
        self.done.append("preview")

    def has_news(self, updates: list[CandleUpdate]) -> bool:
        assert len(updates) == 1
        return self.is_news

    def take(self, updates: list[CandleUpdate]) -> Taken:
        self.done.append(self.name)
        return Taken(updates[-1].candle.open_time, len(updates))


def update(*, is_closed: bool) -> CandleUpdate:
    candle = Candle(OPEN, 1.0, 1.0, 1.0, 1.0, 1.0)
    now = time.monotonic()
    return CandleUpdate(SERIES, candle, is_closed=is_closed, event_time=OPEN + 60_000, received_at=now, flow=None)


@pytest.fixture
def feed() -> Any:
    lead: Any = SimpleNamespace(exchange=SimpleNamespace(open_stream=lambda: None))
    sender: Any = None
    return Feed(lead, sender, Vitals(), wishes=lambda: Wishes(frozenset()))


def test_a_closed_candle_goes_before_those_that_form(feed: Any) -> None:
    work: Any = Work()
    other: Any = Work()
    followed = feed.series[SERIES] = Followed(work, ask_at=0.0, is_behind=False)
    forming = feed.series[OTHER] = Followed(other, ask_at=0.0, is_behind=False)
    is_over, is_one_over = threading.Event(), threading.Event()
    for each in (is_over, is_one_over):
        feed._fast.submit("other work", each.wait)
    for number in range(10):
        feed._fast.submit(number, lambda: work.done.append("an earlier preview"))
    followed.note_update(update(is_closed=True))
    feed._begin_next(SERIES, time.monotonic())
    assert followed.job == Job.TAKE
    forming.note_update(update(is_closed=False))
    feed._go_round(time.monotonic())
    assert forming.job is None
    is_one_over.set()
    eventually(lambda: not feed._fast.waiting and len(work.done) == 11)
    assert work.done[0] == "take"
    is_over.set()
    eventually(lambda: feed._handle_waiting() and not feed._taking)
    feed._go_round(time.monotonic())
    eventually(lambda: other.done == ["preview"])
    feed._fast.close()


def test_in_a_crowd_candles_with_a_signal_go_first_and_the_others_soon_after(feed: Any) -> None:
    done: list[str] = []
    is_over, is_all_over = threading.Event(), threading.Event()
    for each in (is_over, is_all_over):
        feed._fast.submit("other work", each.wait, is_urgent=True)

    def close(number: int, *, is_news: bool) -> None:
        key = SeriesKey.parse(f"S{number}USDT:1m")
        work: Any = Work(done, name=str(number), is_news=is_news)
        feed.series[key] = followed = Followed(work, ask_at=0.0, is_behind=False)
        followed.note_update(update(is_closed=True))
        feed._begin_next(key, time.monotonic())

    # The first three are no crowd, so nobody asks what they tell.
    for number, is_news in enumerate((False, False, False, False, True, False, True)):
        close(number, is_news=is_news)
    waits_since = time.monotonic()
    eventually(lambda: time.monotonic() - waits_since > feed_module._PATIENCE_SECONDS)
    close(7, is_news=True)
    is_over.set()
    eventually(lambda: len(done) == 8)
    is_all_over.set()
    feed._fast.close()
    assert done == ["0", "1", "2", "4", "6", "3", "5", "7"]


def test_a_lane_that_is_full_takes_no_further_preview(feed: Any) -> None:
    work: Any = Work()
    followed = feed.series[SERIES] = Followed(work, ask_at=0.0, is_behind=False)
    is_over = threading.Event()
    for number in range(40):
        feed._fast.submit(number, is_over.wait)
    followed.note_update(update(is_closed=False))
    feed._go_round(time.monotonic())
    assert followed.job is None
    assert followed.forming is not None
    is_over.set()
    eventually(lambda: not feed._fast.waiting)
    feed._go_round(time.monotonic())
    eventually(lambda: work.done == ["preview"])
    feed._fast.close()


def test_candles_that_nobody_looks_at_are_not_previewed(feed: Any) -> None:
    work: Any = Work()
    work.is_watched = False
    followed = feed.series[SERIES] = Followed(work, ask_at=0.0, is_behind=False)
    followed.note_update(update(is_closed=False))
    feed._go_round(time.monotonic())
    assert followed.job is None
    work.is_watched = True
    feed._go_round(time.monotonic())
    eventually(lambda: work.done == ["preview"])
    feed._fast.close()


def test_a_series_that_lives_need_not_wait_for_the_history_of_others(feed: Any) -> None:
    done: list[str] = []
    is_over = threading.Event()

    class Beginning(Work):
        is_first = True

        def recover(self) -> Recovered:
            is_over.wait()
            self.done.append(self.name)
            return Recovered(OPEN)

    class Living(Work):
        is_first = False

        def recover(self) -> Recovered:
            self.done.append(self.name)
            return Recovered(OPEN)

    keys = [SeriesKey.parse(f"S{number}USDT:1m") for number in range(9)]
    for key in keys[:-1]:
        work: Any = Beginning(done, name=key.symbol)
        feed.series[key] = Followed(work, ask_at=0.0)
        feed._begin_next(key, time.monotonic())
    living: Any = Living(done, name="living")
    feed.series[keys[-1]] = Followed(living, ask_at=0.0)
    feed._begin_next(keys[-1], time.monotonic())
    eventually(lambda: done == ["living"])
    is_over.set()

    def all_recovered() -> bool:
        feed._handle_waiting()
        for key in keys:
            feed._begin_next(key, time.monotonic())
        return len(done) == len(keys)

    eventually(all_recovered)
    feed._slow.close()
    assert sorted(done[1:]) == sorted(key.symbol for key in keys[:-1])


def test_a_series_that_speaks_again_is_overdue_no_more(feed: Any) -> None:
    mute = {SERIES}
    feed.stream = SimpleNamespace(server_time=lambda: OPEN + 90_000, health=SimpleNamespace(mute=mute))
    work: Any = Work()
    followed = feed.series[SERIES] = Followed(work, ask_at=0.0, is_behind=False, through=OPEN)
    feed._look_for_overdue(10.0)
    assert followed.overdue_since == 10.0
    mute.clear()
    feed._look_for_overdue(11.0)
    assert followed.overdue_since is None
