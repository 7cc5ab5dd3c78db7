"""The pages that span all apps: what they show, how they answer parts, and what their cookies accept."""

import json
import platform
import re
from html import unescape
from typing import ClassVar
from urllib.parse import quote, unquote, urljoin

import django
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from backtests.models import Backtest
from markets.models import JobState, Pair
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from signals.engine import DETECTOR_VERSION
from signals.selectors import SignalFilter, signals, total
from smcsite import health
from smcsite.preferences import MAX_RULES, AlertRule, Preferences
from smcsite.version import VERSION
from tests.factories import walk

pytestmark = pytest.mark.django_db

PAGES = (
    "/web/", "/web/status", "/web/settings", "/web/help", "/web/search?q=btc", "/web/pairs", "/web/data",
    "/web/signals", "/web/scanner", "/web/backtest", "/web/evidence", "/web/track-record", "/web/backtest/compare",
)  # fmt: skip


@pytest.fixture
def stored() -> SeriesKey:
    series = SeriesKey("PAGEUSDT", Timeframe.M15)
    ensure_series(series, is_active=True)
    candle_store().merge(series, walk(5, 400, timeframe=Timeframe.M15), source=Source.FILE)
    return series


@pytest.mark.parametrize("path", PAGES)
def test_every_page_answers_on_an_empty_database(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (200, 302)
    if answer.status_code == 200:
        assert answer.content.decode().lstrip().startswith("<!doctype html>")
        assert "HX-Request" in answer["Vary"]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59-14:00", "0001-01-01T00:00+14:00", "yesterday", ""])
def test_a_chart_of_a_moment_that_never_was_shows_the_present(client: Client, stored: SeriesKey, moment: str) -> None:
    answer = client.get("/web/chart/PAGEUSDT/15m", {"as_of": moment})
    assert answer.status_code == 200
    assert answer.context["as_of"] is None


def test_a_link_to_a_part_of_a_page_finds_it_there(client: Client, stored: SeriesKey) -> None:
    """``#sig=`` and ``#t=`` are read by the chart's script and name no part."""
    texts = {path: client.get(path, follow=True).text for path in PAGES}
    found = {(path, link) for path in PAGES for link in re.findall(r'href="([^"]*#[^"=]+)"', texts[path])}
    assert {fragment for _, link in found if (fragment := link.partition("#")[2])} >= {"main", "evidence", "backfill"}
    for path, link in found:
        target, _, fragment = urljoin(path, unescape(link)).partition("#")
        text = texts.get(target) or client.get(target).text
        assert f'id="{fragment}"' in text, f"{path} links to {link}"


def test_the_sheet_of_shortcuts_lists_the_keys_that_the_links_have(client: Client) -> None:
    text = client.get("/web/help").text
    keys = re.findall(r'<a data-key="(.)"[^>]*>(\w+)', text)
    assert ("e", "Evidence") in keys
    assert re.findall(r"<kbd>g</kbd> <kbd>(.)</kbd></dt><dd>(\w+)", text.partition('id="keys"')[2])[: len(keys)] == keys


def test_the_status_tells_what_runs(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    text = client.get("/web/status").text
    told = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", text[text.index('id="versions-title"') :]))
    assert told == {
        "Service": VERSION,
        "Detector": str(DETECTOR_VERSION),
        "Python": platform.python_version(),
        "Django": django.get_version(),
        "Database": connection.display_name,
        "Migrations": "applied",
    }
    monkeypatch.setattr(health, "_known_migrated", [])
    monkeypatch.setattr("django.db.migrations.executor.MigrationExecutor.migration_plan", lambda *_: [("markets", "2")])
    assert "not applied: manage.py migrate" in client.get("/web/status").text


def test_every_page_names_the_version_at_its_foot(client: Client) -> None:
    for path in ("/web/", "/web/help"):
        foot = client.get(path).text.partition('<footer class="foot">')[2]
        assert f"Version {VERSION}" in foot


def test_first_run_is_guided_until_it_is_hidden(client: Client, stored: SeriesKey) -> None:
    assert b'data-testid="onboarding"' in client.get("/web/").content
    client.post("/web/settings/intro")
    assert b'data-testid="onboarding"' not in client.get("/web/").content


def test_dashboard_asks_the_database_a_fixed_number_of_times(
    client: Client, stored: SeriesKey, django_assert_max_num_queries: object
) -> None:
    client.get("/web/")
    with django_assert_max_num_queries(7):  # type: ignore[operator]
        client.get("/web/")
    for name in ("ONEUSDT", "TWOUSDT", "THREEUSDT"):
        ensure_series(SeriesKey(name, Timeframe.H1), is_active=True)
    with django_assert_max_num_queries(7):  # type: ignore[operator]
        client.get("/web/")


def test_both_tables_of_the_dashboard_tell_one_change_over_24_hours(client: Client, stored: SeriesKey) -> None:
    hourly = SeriesKey(stored.symbol, Timeframe.H1)
    ensure_series(hourly, is_active=True)
    candle_store().merge(hourly, walk(6, 100, timeframe=Timeframe.H1), source=Source.FILE)
    close = candle_store().newest(stored, 97).close
    change = f"{100 * (close[-1] / close[0] - 1):+.2f} %".replace("-", "−")
    page = client.get("/web/").text
    tables = [table for table in re.findall(r"<table.*?</table>", page, re.DOTALL) if ">24 h<" in table]
    assert [change in table for table in tables] == [True, True]


def test_lists_ask_the_database_as_often_for_many_rows_as_for_one(client: Client, stored: SeriesKey) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(path).status_code == 200
        return len(asked)

    def add_runs(count: int) -> None:
        for _ in range(count):
            run = Backtest(
                symbol="PAGEUSDT", timeframe="15m", strategy="zone_retest", start=0, end=900_000, kind="backtest"
            )
            run.state, run.result = JobState.DONE, {"trades": 3, "return_pct": 1.5}
            run.save()

    add_runs(1)
    for path in ("/web/signals?limit=1", "/web/backtest"):
        queries(path)  # what is looked up once in a process
    few = {"/web/signals?limit=1": queries("/web/signals?limit=1"), "/web/backtest": queries("/web/backtest")}
    add_runs(15)
    ensure_series(SeriesKey("MOREUSDT", Timeframe.M15), is_active=True)
    assert queries("/web/backtest") == few["/web/backtest"]
    assert queries("/web/signals?limit=50") == few["/web/signals?limit=1"]
    assert max(few.values()) <= 8, few


def test_the_live_list_shows_once_what_both_scales_have_found(client: Client, stored: SeriesKey) -> None:
    part = {"HX-Request": "true", "HX-Target": "signal-list"}
    found = re.findall(r'data-signal-id="([^"]+)"', client.get("/web/", headers=part).content.decode())
    names = [re.sub(r"\.(swing|internal)\.", ".", each) for each in found]
    assert any(".FVG." in each for each in found)
    assert len(names) == len(set(names)) == 25


def test_the_signals_of_a_day_are_counted_with_each_gap_once(client: Client, stored: SeriesKey) -> None:
    told, last = client.get("/web/").context["tallies"], candle_store().last_time(stored)
    assert last is not None
    day = SignalFilter(start=last - 86_400_000)
    rows = [row for row in signals(day, limit=5_000).rows if row.kind not in ("FVG", "IFVG") or row.scale == "swing"]
    assert told.signals == len(rows) < total(day)


def test_a_signal_near_the_middle_of_its_range_stands_in_equilibrium(client: Client, stored: SeriesKey) -> None:
    rows = signals(SignalFilter(symbol=stored.symbol), limit=1_000).rows
    places = {row.id: row.range_pos for row in rows if row.range_pos is not None}
    for low, high, word in ((0.0, 0.475, "discount"), (0.475, 0.525, "equilibrium"), (0.525, 1.0, "premium")):
        # The ends are nearest to the next word.
        inside = sorted((place, name) for name, place in places.items() if low < place < high)
        for _, name in (inside[0], inside[-1]):
            told = client.get(reverse("signal", args=[name])).content.decode()
            assert re.findall(r"(discount|equilibrium|premium)</span>", told) == [word]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/web/", "market"),
        ("/web/", "signal-list"),
        ("/web/chart/PAGEUSDT/15m", "events"),
        ("/web/chart/PAGEUSDT/15m", "side"),
    ],
)
def test_a_page_that_a_history_asks_for_again_is_whole(
    client: Client, stored: SeriesKey, path: str, target: str
) -> None:
    def tags(**headers: str) -> list[str]:
        return re.findall(r"<\w+", client.get(path, headers=headers).content.decode())

    asked = {"HX-Request": "true", "HX-Target": target}
    assert tags(**asked, **{"HX-History-Restore-Request": "true"}) == tags() != tags(**asked)


def test_one_url_answers_as_a_page_and_as_a_part(client: Client, stored: SeriesKey) -> None:
    page = client.get("/web/signals").content.decode()
    part = client.get("/web/signals", headers={"HX-Request": "true", "HX-Target": "results"}).content.decode()
    restored = client.get(
        "/web/signals",
        headers={"HX-Request": "true", "HX-Target": "results", "HX-History-Restore-Request": "true"},
    ).content.decode()
    assert "<html" in page
    assert "<html" not in part
    assert 'id="results"' in part
    assert "<html" in restored


def test_a_pair_that_cannot_be_read_hides_no_other(client: Client, stored: SeriesKey) -> None:
    broken = SeriesKey("BROKENUSDT", Timeframe.M15)
    ensure_series(broken, is_active=True)
    candle_store().merge(broken, walk(6, 200, timeframe=Timeframe.M15), source=Source.FILE)
    files = [path for path in candle_store().root.rglob("*.parquet") if "BROKENUSDT" in str(path)]
    assert files
    for path in files:
        path.write_bytes(b"not a parquet file")
    candle_store.cache_clear()
    answer = client.get("/web/")
    assert answer.status_code == 200
    assert "PAGEUSDT" in answer.content.decode()


def test_settings_are_kept_and_bad_ones_refused(client: Client) -> None:
    chosen = {"theme": "light", "pair": "cb", "zone": "Asia/Tokyo", "bars": "300"}
    client.post("/web/settings", chosen)
    page = client.get("/web/help").content.decode()
    assert 'data-theme="light" data-pair="cb"' in page
    assert "Asia/Tokyo" in page
    refused = client.post("/web/settings", {**chosen, "zone": "Mars/Olympus"})
    assert refused.status_code == 422
    assert 'aria-invalid="true"' in refused.content.decode()


@pytest.mark.parametrize("text", ["{", "[1, null, {}]", '[{"symbol": "<script>"}]', '{"a": 1}', "[" * 500, "[" * 3_000])
def test_stale_or_hostile_cookies_break_no_page(client: Client, text: str) -> None:
    client.cookies["smc_alerts"] = quote(text, safe="")
    client.cookies["smc_zone"] = "Mars"
    client.cookies["smc_watch"] = quote("<b>,BTCUSDT", safe="")
    answer = client.get("/web/settings")
    assert answer.status_code == 200
    assert "<script>" not in answer.content.decode().replace("<script ", "")


def test_alert_rules_are_added_and_removed(client: Client) -> None:
    client.post("/web/settings/alerts", {"symbol": "btc/usdt", "timeframe": "15m", "kind": "BOS", "strength": "70"})
    kept = json.loads(unquote(client.cookies["smc_alerts"].value))
    assert kept == [AlertRule("BTCUSDT", "15m", "BOS", 70, sound=False, notify=False).as_dict()]
    client.post("/web/settings/alerts/0/remove")
    assert json.loads(unquote(client.cookies["smc_alerts"].value)) == []


def test_a_rule_too_many_takes_the_place_of_the_oldest(client: Client) -> None:
    for strength in range(MAX_RULES + 1):
        client.post("/web/settings/alerts", {"symbol": "BTCUSDT", "strength": strength})
    kept = json.loads(unquote(client.cookies["smc_alerts"].value))
    assert [AlertRule.of(each) for each in kept] == [
        AlertRule("BTCUSDT", "", "", strength, sound=False, notify=False) for strength in range(1, MAX_RULES + 1)
    ]


def test_theme_switch_leads_back_only_to_this_site(client: Client) -> None:
    for next_url, wanted in (("/web/help", "/web/help"), ("//evil.test/x", "/web/"), ("https://evil.test", "/web/")):
        answer = client.post("/web/settings/theme", {"next": next_url})
        assert answer["Location"] == wanted


def test_search_leads_straight_to_the_only_hit(client: Client, stored: SeriesKey) -> None:
    assert client.get("/web/search?q=pageusdt")["Location"] == "/web/chart/PAGEUSDT/15m"
    hits = client.get("/web/search?q=page", headers={"HX-Request": "true", "HX-Target": "hits"}).content.decode()
    assert 'role="option"' in hits
    assert "<html" not in hits


def test_beside_a_replayed_chart_the_panels_say_that_they_show_now(client: Client, stored: SeriesKey) -> None:
    path, told = f"/web/chart/{stored.symbol}/15m", "as it is now, not the replayed moment"
    assert told in client.get(path, {"as_of": "2024-01-02T00:00:00Z"}).text
    assert told not in client.get(path).text


def test_unknown_symbol_is_a_designed_page_with_near_matches(client: Client, stored: SeriesKey) -> None:
    answer = client.get("/web/chart/PAGEUSD/15m")
    assert answer.status_code == 404
    assert "/web/chart/PAGEUSDT/15m" in answer.content.decode()
    assert client.get("/web/chart/PAGEUSDT/7m").status_code == 404


def test_prices_are_told_at_the_tick_of_their_pair(client: Client, stored: SeriesKey) -> None:
    Pair.objects.filter(symbol="PAGEUSDT").update(tick_size=0.001)
    last = candle_store().newest(stored, 1).close[-1]
    assert f"{last:,.3f}" in client.get("/web/").content.decode()


def test_preferences_hold_only_what_is_valid() -> None:
    class Request:
        COOKIES: ClassVar = {
            "smc_theme": "neon",
            "smc_bars": "7",
            "smc_zone": "America%2FNew_York",
            "smc_watch": "BTCUSDT%2C%3Cb%3E",
        }

    chosen = Preferences.of(Request())  # type: ignore[arg-type]
    assert (chosen.theme, chosen.bars, chosen.zone, chosen.watched) == ("dark", 180, "America/New_York", ("BTCUSDT",))
