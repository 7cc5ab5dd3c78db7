"""The pages that span all apps: dashboard, status, settings, help, search; and the pages that tell what went wrong."""

import logging
import platform
from typing import Any

import django
from django.conf import settings as configuration
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from markets.errors import SmcError
from markets.models import Pair
from markets.selectors import near_symbols, pairs
from markets.series import Timeframe
from markets.views import page, redirect, wanted_part
from scanner.selectors import ranking
from signals import selectors
from signals.engine import DETECTOR_VERSION
from signals.evidence import NOTED
from signals.push.status import read_status
from smcsite.dashboard import first_steps, market, near_zones, tallies
from smcsite.forms import AlertForm, PreferencesForm
from smcsite.health import is_migrated
from smcsite.heartbeats import running
from smcsite.preferences import THEMES, AlertRule, Preferences, keep, rules_text
from smcsite.version import VERSION

logger = logging.getLogger(__name__)

_SIGNALS_SHOWN = 25
_SCANNED_SHOWN = 8
_HITS_SHOWN = 8
_SCAN_TIMEFRAME = Timeframe.M15


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("dashboard"))


@require_GET
def dashboard(request: HttpRequest) -> HttpResponse:
    """What happened, what is open, and whether the service is healthy."""
    parts = {"signal-list": "signals/_list.html", "market": "smcsite/_market.html"}
    wanted = wanted_part(request)
    context: dict[str, Any] = {"rows_url": reverse("dashboard")}
    if wanted != "market":
        filter_ = selectors.SignalFilter(kinds=frozenset(configuration.ENV.indicators))
        context["signals"], context["signals_error"] = _attempt(
            lambda: selectors.newest_once(filter_, limit=_SIGNALS_SHOWN), []
        )
    if wanted != "signal-list":
        context["market"] = market()
    if wanted not in parts:
        context |= _whole_dashboard(request, context["market"])
    return page(request, "smcsite/dashboard.html", context, parts=parts)


def _whole_dashboard(request: HttpRequest, rows: Any) -> dict[str, Any]:
    scanned, scan_error = _attempt(lambda: ranking(_SCAN_TIMEFRAME, top=_SCANNED_SHOWN).rows, ())
    zones, zones_error = _attempt(lambda: near_zones(rows), [])
    return {
        "status": read_status(),
        "tallies": tallies(rows),
        "scanned": scanned,
        "scan_error": scan_error,
        "scan_timeframe": _SCAN_TIMEFRAME.value,
        "zones": zones,
        "zones_error": zones_error,
        "steps": first_steps(rows, has_seen=Preferences.of(request).has_seen_intro),
    }


def _attempt(read: Any, otherwise: Any) -> tuple[Any, str]:
    """Return what a card shows, or the reason why it shows nothing: one card that fails leaves the others standing."""
    try:
        return read(), ""
    except SmcError as error:
        return otherwise, str(error)
    except Exception as error:
        logger.exception("a card of the dashboard failed")
        return otherwise, f"internal error: {type(error).__name__}"


@require_GET
def status(request: HttpRequest) -> HttpResponse:
    """Feeds, workers, lag, queue, disk, versions."""
    parts = {"status": "smcsite/_status.html"}
    told = read_status()
    told["processes"] = running(told)
    told["series"] = sorted(told["series"], key=lambda row: (row["symbol"], Timeframe(row["timeframe"]).minutes))
    return page(request, "smcsite/status.html", {"status": told, "versions": _versions()}, parts=parts)


def _versions() -> dict[str, str]:
    """Return what a report of a fault is to name."""
    return {
        "Service": VERSION,
        "Detector": str(DETECTOR_VERSION),
        "Python": platform.python_version(),
        "Django": django.get_version(),
        "Database": connection.display_name,
        "Migrations": "applied" if is_migrated() else "not applied: manage.py migrate",
    }


@require_http_methods(["GET", "POST"])
def settings(request: HttpRequest) -> HttpResponse:
    """The visitor's own choices, kept in cookies."""
    form = PreferencesForm(request.POST or None, initial=Preferences.of(request))
    if request.method == "POST" and form.is_valid():
        messages.success(request, "Saved.")
        answer = redirect(request, reverse("settings"))
        keep(answer, request, **form.choices)
        return answer
    return _settings_page(request, form, AlertForm(), status=422 if form.errors else 200)


@require_POST
def add_alert(request: HttpRequest) -> HttpResponse:
    """Add a rule for alerts."""
    form, chosen = AlertForm(request.POST), Preferences.of(request)
    if not form.is_valid():
        return _settings_page(request, PreferencesForm(initial=chosen), form, status=422)
    return _with_rules(request, (*chosen.rules, form.to_rule()))


def _settings_page(request: HttpRequest, form: PreferencesForm, alert_form: AlertForm, *, status: int) -> HttpResponse:
    context = {"form": form, "alert_form": alert_form, "rules": list(enumerate(Preferences.of(request).rules))}
    return page(request, "smcsite/settings.html", context, status=status)


@require_POST
def remove_alert(request: HttpRequest, number: int) -> HttpResponse:
    rules = Preferences.of(request).rules
    return _with_rules(request, tuple(rule for i, rule in enumerate(rules) if i != number))


def _with_rules(request: HttpRequest, rules: tuple[AlertRule, ...]) -> HttpResponse:
    answer = redirect(request, f"{reverse('settings')}#alerts")
    keep(answer, request, alerts=rules_text(rules))
    return answer


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Switch to the next theme; scripts do the same without asking."""
    names = list(THEMES)
    following = names[(names.index(Preferences.of(request).theme) + 1) % len(names)]
    answer = HttpResponseRedirect(_own_url(request, request.POST.get("next", "")))
    keep(answer, request, theme=following)
    return answer


@require_POST
def watch(request: HttpRequest, symbol: str) -> HttpResponse:
    """Put a pair on the watchlist, or take it off."""
    watched = Preferences.of(request).watched
    changed = [each for each in watched if each != symbol] if symbol in watched else [*watched, symbol]
    answer = HttpResponseRedirect(_own_url(request, request.POST.get("next", "")))
    keep(answer, request, watch=",".join(changed))
    return answer


@require_POST
def dismiss_intro(request: HttpRequest) -> HttpResponse:
    answer = redirect(request, reverse("dashboard"))
    keep(answer, request, intro="seen")
    return answer


def _own_url(request: HttpRequest, url: str) -> str:
    """Return ``url`` when it leads to this site, else the dashboard."""
    is_ours = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return url if is_ours and url.startswith("/") else reverse("dashboard")


@require_GET
def search(request: HttpRequest) -> HttpResponse:
    """Find pairs by a part of their name; without scripts a single hit leads straight to its chart."""
    text = request.GET.get("q", "").strip().upper()[:40]
    timeframe = request.GET.get("timeframe", "")
    timeframe = timeframe if timeframe in set(Timeframe) else Timeframe.M15.value
    hits = _hits(text)
    if "HX-Request" not in request.headers and text and hits:
        exact = [pair for pair in hits if text in (pair.symbol, pair.base_asset)]
        if exact or len(hits) == 1:
            return HttpResponseRedirect(reverse("chart", args=[(exact or hits)[0].symbol, timeframe]))
    context = {"hits": hits, "text": text, "timeframe": timeframe}
    return page(request, "smcsite/search.html", context, parts={"hits": "smcsite/_hits.html"})


def _hits(text: str) -> list[Pair]:
    found = {pair.symbol: pair for pair in pairs()}
    if not text:
        return list(found.values())[:_HITS_SHOWN]
    starting = [symbol for symbol in found if symbol.startswith(text)]
    return [found[symbol] for symbol in dict.fromkeys([*starting, *near_symbols(text)])][:_HITS_SHOWN]


def _has_nobody() -> bool:
    """Say whether there is no account yet; a database that is away is no reason to show no page."""
    try:
        return not get_user_model().objects.exists()
    except DatabaseError:
        return False


SIGN_IN = {"has_nobody": _has_nobody}


@require_GET
def help_page(request: HttpRequest) -> HttpResponse:
    """Glossary, shortcuts, method."""
    return page(request, "smcsite/help.html", {"noted_below": NOTED})
