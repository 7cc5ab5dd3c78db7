"""The pages of evidence and of the track record: tables, jobs, mistakes, nothing stored."""

import pytest
from django.test import Client

from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from signals.evidence import NOTED
from signals.models import Study
from signals.tasks import run_study
from tests.factories import walk

pytestmark = pytest.mark.django_db


@pytest.fixture
def series() -> SeriesKey:
    key = SeriesKey.of("EVIDENTUSDT", "15m")
    candle_store().merge(key, walk(5, 4_000, timeframe=Timeframe.M15), source=Source.FILE)
    ensure_series(key)
    return key


def test_without_candles_the_page_says_what_to_do(client: Client) -> None:
    for path in ("/web/evidence", "/web/track-record"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "yet" in answer.text


def test_the_first_stored_series_is_studied_without_being_asked_for(series: SeriesKey, client: Client) -> None:
    answer = client.get("/web/evidence")
    assert answer.status_code == 200
    assert "Forward returns" in answer.text
    assert series.symbol in answer.text


def test_each_horizon_is_a_link_and_a_part_of_the_page(series: SeriesKey, client: Client) -> None:
    asked = {"symbol": series.symbol, "timeframe": "15m", "scale": "internal", "horizon": "48"}
    part = client.get("/web/evidence", asked, headers={"HX-Request": "true", "HX-Target": "results"})
    assert part.text.startswith('<div id="results"')
    assert "Return 48 candles after entry" in part.text
    assert "<html" in client.get("/web/evidence", asked).text


def test_an_address_without_a_scale_means_the_internal_one(series: SeriesKey, client: Client) -> None:
    answer = client.get("/web/evidence", {"symbol": series.symbol, "timeframe": "15m"})
    assert answer.status_code == 200
    assert "Forward returns" in answer.text


@pytest.mark.parametrize(
    "wrong", [{"symbol": "NOPE"}, {"timeframe": "2m"}, {"scale": "huge"}, {"start": "soon"}, {"split": "31/12/2023"}]
)
def test_a_mistake_is_shown_at_its_field(series: SeriesKey, client: Client, wrong: dict[str, str]) -> None:
    asked = {"symbol": series.symbol, "timeframe": "15m", "scale": "internal", **wrong}
    answer = client.get("/web/evidence", asked)
    assert answer.status_code == 422
    assert "error-text" in answer.text


def test_an_end_before_its_start_is_a_mistake_of_the_form(series: SeriesKey, client: Client) -> None:
    asked = {
        "symbol": series.symbol,
        "timeframe": "15m",
        "scale": "internal",
        "start": "2024-01-02",
        "end": "2024-01-01",
    }
    answer = client.get("/web/evidence", asked)
    assert answer.status_code == 422
    assert "after" in answer.text


def test_a_study_as_a_job_shows_its_progress_and_then_its_tables(series: SeriesKey, client: Client) -> None:
    asked = {"symbol": series.symbol, "timeframe": "15m", "scale": "internal", "conditions": "on"}
    answer = client.post("/web/evidence", asked)
    assert answer.status_code == 302
    job = Study.objects.get()
    assert answer["Location"] == f"/web/evidence/{job.pk}"
    assert "queued" in client.get(answer["Location"]).text
    run_study(job.pk)
    done = client.get(answer["Location"])
    assert "Forward returns" in done.text
    assert "Conditions" in done.text


def test_the_rows_that_are_counted_as_noted_are_those_told_from_chance(series: SeriesKey, client: Client) -> None:
    client.post("/web/evidence", {"symbol": series.symbol, "timeframe": "15m", "scale": "internal"})
    job = Study.objects.get()
    run_study(job.pk)
    job.refresh_from_db()
    assert job.result is not None
    rows = job.result["rows"]
    shown = [row for row in rows if row["horizon"] == 24 and row["enough"]]
    for row in rows:
        row["q_value"] = NOTED
    shown[0]["q_value"] = NOTED / 2
    job.save()
    text = client.get(f"/web/evidence/{job.pk}").text
    assert f"1 of {len(rows)} rows" in text
    assert "q below 0.1; about 10 % of such rows" in text
    assert text.count("better than chance") + text.count("worse than chance") == 1
    assert text.count("like chance") == len(shown) - 1


def test_a_study_can_be_cancelled_from_its_page(series: SeriesKey, client: Client) -> None:
    client.post("/web/evidence", {"symbol": series.symbol, "timeframe": "15m", "scale": "internal"})
    job = Study.objects.get()
    client.post(f"/web/evidence/{job.pk}/cancel")
    job.refresh_from_db()
    assert job.state == "cancelled"
