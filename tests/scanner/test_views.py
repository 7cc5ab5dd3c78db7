"""The scanner's page: every order and filter is an address, and no pair hides another."""

import csv
import re

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from scanner.selectors import ranking
from tests.downloads import body_of
from tests.factories import walk

pytestmark = pytest.mark.django_db

SYMBOLS = ("AAAUSDT", "BBBUSDT", "CCCUSDT")


@pytest.fixture(autouse=True)
def _stored() -> None:
    cache.clear()
    for number, symbol in enumerate((*SYMBOLS, "NEWUSDT")):
        series = SeriesKey(symbol, Timeframe.M15)
        ensure_series(series, is_active=True)
        candles = walk(number, 300, timeframe=Timeframe.M15)
        candle_store().merge(series, candles if symbol != "NEWUSDT" else candles.first(10), source=Source.FILE)


def ranked(client: Client, query: str = "", **headers: str) -> list[str]:
    """Return the pairs in the page's order."""
    text = client.get(f"/web/scanner{query}", headers=headers).content.decode()
    return [
        each for each in re.findall(r'data-main href="/web/chart/(\w+)/15m"', text) if each in (*SYMBOLS, "NEWUSDT")
    ]


def test_pairs_are_ranked_and_those_that_cannot_be_are_named(client: Client) -> None:
    assert sorted(ranked(client)) == list(SYMBOLS)
    text = client.get("/web/scanner").content.decode()
    assert "could not be ranked" in text
    assert "<dt>NEWUSDT</dt>" in text


def test_a_ranking_on_demand_is_of_the_candles_there_are() -> None:
    series, candles = SeriesKey("AAAUSDT", Timeframe.M5), walk(7, 300, timeframe=Timeframe.M5)
    ensure_series(series, is_active=True)
    for count in (290, 300):
        candle_store().merge(series, candles.first(count), source=Source.FILE)
        for _ in range(2):
            (row,) = ranking(Timeframe.M5).rows
            assert row.volatility.open_time == candles.open_time[count - 1]


def test_a_minute_s_change_of_a_day_is_told_everywhere(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    series, candles = SeriesKey("AAAUSDT", Timeframe.M1), walk(7, 1_441)
    ensure_series(series, is_active=True)
    candle_store().merge(series, candles, source=Source.FILE)
    change = 100 * (candles.close[-1] / candles.close[0] - 1)
    (row,) = client.get("/api/v1/scan/volatility", {"tf": "1m"}).json()["results"]
    assert row["change_24h_pct"] == change
    table = csv.DictReader(
        body_of(client.get("/api/v1/scan/volatility", {"tf": "1m", "format": "csv"})).decode().splitlines()
    )
    assert [float(each["change_24h_pct"]) for each in table] == [change]
    call_command("scan", "--timeframe", "1m")
    assert capsys.readouterr().out.split()[-1] == f"{change:.3f}"
    assert f"{abs(change):.2f}" in client.get("/web/scanner?tf=1m").content.decode()


def test_a_column_sorts_both_ways_and_says_so(client: Client) -> None:
    assert ranked(client, "?sort=symbol") == list(SYMBOLS)
    assert ranked(client, "?sort=-symbol") == list(reversed(SYMBOLS))
    assert ranked(client, "?sort=-atr_pct") == list(reversed(ranked(client, "?sort=atr_pct")))
    text = client.get("/web/scanner?sort=-symbol").content.decode()
    assert text.count('aria-sort="descending"') == 1


def test_filters_narrow_the_ranking_and_an_empty_one_says_why(client: Client) -> None:
    assert ranked(client, "?q=bb") == ["BBBUSDT"]
    up, down = ranked(client, "?bias=bull"), ranked(client, "?bias=bear")
    assert (up, sorted(down)) == (["AAAUSDT"], ["BBBUSDT", "CCCUSDT"])
    assert "No pair to rank" in client.get("/web/scanner?q=zzz").content.decode()
    assert "No pair to rank" in client.get("/web/scanner?tf=4h").content.decode()


@pytest.mark.parametrize("query", ["?tf=2m", "?metric=luck", "?sort=nonsense", "?bias=sideways", "?q=%3Cscript%3E"])
def test_what_an_address_gets_wrong_is_left_aside(client: Client, query: str) -> None:
    answer = client.get(f"/web/scanner{query}")
    assert answer.status_code == 200
    assert "<script>" not in re.sub(r"<script (src|type|id)=[^>]*>", "", answer.content.decode())


def test_the_ranking_alone_is_the_answer_to_htmx(client: Client) -> None:
    part = {"HX-Request": "true", "HX-Target": "results"}
    assert sorted(ranked(client, "", **part)) == list(SYMBOLS)
    assert "<html" not in client.get("/web/scanner", headers=part).content.decode()
