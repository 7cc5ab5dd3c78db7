"""The pages about pairs and data: what they take, what they refuse, and what they show of jobs."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from markets.models import Backfill, JobState, Pair, Series
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services import jobs
from markets.services.pairs import ensure_series
from markets.services.performing import Progress
from markets.store import Source
from tests.factories import walk
from tests.markup import squeezed

pytestmark = pytest.mark.django_db

SERIES = SeriesKey("VIEWUSDT", Timeframe.M15)
PART = {"HX-Request": "true"}


@pytest.fixture
def stored(data_root: Path) -> None:
    ensure_series(SERIES, is_active=True)
    candles = walk(3, 300, timeframe=Timeframe.M15)
    for part in (candles.first(100), candles.take(slice(150, None))):
        candle_store().merge(SERIES, part, source=Source.FILE)


@pytest.fixture
def job(stored: None) -> Backfill:
    return jobs.submit(Backfill(symbol=SERIES.symbol, timeframe="15m", spec={"symbol": SERIES.symbol}))


def test_a_pair_is_followed_paused_and_followed_again(client: Client) -> None:
    client.post("/web/pairs", {"symbol": "view/usdt", "wanted": ["1m", "15m"]})
    assert set(Series.objects.filter(is_active=True).values_list("timeframe", flat=True)) == {"1m", "15m"}
    client.post("/web/pairs/VIEWUSDT", {})
    assert not Pair.objects.get(symbol="VIEWUSDT").is_active
    assert "is paused" in client.get("/web/pairs").content.decode()
    client.post("/web/pairs/VIEWUSDT", {"wanted": ["1h"]})
    assert Pair.objects.get(symbol="VIEWUSDT").is_active
    assert list(Series.objects.filter(is_active=True).values_list("timeframe", flat=True)) == ["1h"]


@pytest.mark.parametrize("wrong", [{"symbol": "BTC USDT!"}, {"symbol": ""}, {"wanted": ["2m"]}, {"wanted": []}])
def test_a_pair_that_cannot_be_is_refused_at_its_field(client: Client, wrong: dict[str, object]) -> None:
    answer = client.post("/web/pairs", {"symbol": "VIEWUSDT", "wanted": ["15m"], **wrong})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "error-text" in text
    assert ('value="BTC USDT!"' in text) == (wrong.get("symbol") == "BTC USDT!")
    assert not Pair.objects.exists()


def test_coverage_and_gaps_of_every_series_are_shown(client: Client, stored: None) -> None:
    text = squeezed(client.get("/web/data").text)
    assert SERIES.symbol in text
    assert '<td class="num">250</td><td class="num"><span class="tag tag-warn">1</span></td>' in text


def test_a_damaged_file_is_named_where_its_gap_is(client: Client, stored: None) -> None:
    """F41."""
    assert "put aside" not in client.get("/web/data").content.decode()
    file = next((candle_store().root / "candles" / SERIES.symbol).rglob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    candle_store().read(SERIES, start=None, end=None)
    assert f"put aside: VIEWUSDT 15m {file.stem}." in squeezed(client.get("/web/data").text)


def test_a_backfill_is_asked_for_and_bad_ranges_are_kept_in_the_form(client: Client, stored: None) -> None:
    asked = {"symbol": SERIES.symbol, "timeframe": "15m", "start": "2024-02-01", "end": "2024-01-01"}
    refused = client.post("/web/data", asked)
    assert refused.status_code == 422
    assert "Must be after From." in refused.content.decode()
    assert 'value="2024-02-01"' in refused.content.decode()
    assert client.post("/web/data", {**asked, "end": "2024-03-01"}).status_code == 302
    found = Backfill.objects.get()
    assert (found.symbol, found.state, found.end) == (SERIES.symbol, JobState.QUEUED, 1_709_251_200_000)
    assert f'id="job-{found.pk}"' in client.get("/web/data").content.decode()


def test_what_a_job_notes_is_shown_while_it_runs(client: Client, job: Backfill) -> None:
    taken = jobs.take(Backfill, job.pk, worker="here:1")
    assert taken is not None
    Progress(taken).note(["data starts at 2017-08-17"])
    address = f"/web/data/jobs/{job.pk}"
    text = client.get(address, headers={**PART, "HX-Target": f"job-{job.pk}"}).content.decode()
    assert "<html" not in text
    assert "running" in text
    assert "data starts at 2017-08-17" in text
    assert "<html" in client.get(address).content.decode()


def test_a_job_is_cancelled_and_a_second_time_is_no_error(client: Client, job: Backfill) -> None:
    address = f"/web/data/jobs/{job.pk}/cancel"
    assert "cancelled" in client.post(address, headers=PART).content.decode()
    assert client.post(address).status_code == 302
    assert "ended" in client.get("/web/data").content.decode()
    assert Backfill.objects.get().state == JobState.CANCELLED


def test_who_is_signed_in_sees_only_his_own_jobs(client: Client, job: Backfill) -> None:
    client.force_login(User.objects.create_user("bob"))
    assert client.get(f"/web/data/jobs/{job.pk}").status_code == 404
    assert f'id="job-{job.pk}"' not in client.get("/web/data").content.decode()
