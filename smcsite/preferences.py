"""What a visitor chose for himself: look, colours, zone, watchlist, alert rules. All of it lives in cookies.

Cookies, because the server must know them before it draws the first pixel, and nobody needs an account for them.
They hold nothing secret and are readable by the page's own scripts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo, available_timezones

from django.http import HttpRequest, HttpResponse

from markets.series import SYMBOL_PATTERN, Timeframe
from signals.engine import Kind

THEMES = {"dark": "Dark", "light": "Light", "system": "As the system"}
PAIRS = {
    "classic": "Green up, red down",
    "cb": "Blue up, orange down (colour-blind safe)",
    "red-up": "Red up, green down",
}
BARS = (100, 180, 300, 500, 1_000)
MAX_WATCHED, MAX_RULES = 100, 12

_YEAR_SECONDS = 365 * 86_400


@cache
def zone_names() -> tuple[str, ...]:
    """Return the zones a visitor may choose, UTC first."""
    areas = ("Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")
    return ("UTC", *sorted(name for name in available_timezones() if name.startswith(areas)))


@dataclass(frozen=True, slots=True)
class AlertRule:
    """When to call for attention; an empty field means any."""

    symbol: str = ""
    timeframe: str = ""
    kind: str = ""
    strength: int = 0
    sound: bool = True
    notify: bool = False

    @classmethod
    def of(cls, value: Any) -> Self | None:
        """Read a rule; None when it is not one, so that a stale cookie never breaks a page."""
        if not isinstance(value, Mapping):
            return None
        symbol, timeframe, kind = (str(value.get(name, "")) for name in ("symbol", "timeframe", "kind"))
        strength = value.get("strength", 0)
        is_valid = (
            (not symbol or SYMBOL_PATTERN.fullmatch(symbol))
            and (not timeframe or timeframe in set(Timeframe))
            and (not kind or kind in Kind.__members__)
            and isinstance(strength, int)
            and 0 <= strength <= 100
        )
        if not is_valid:
            return None
        return cls(symbol, timeframe, kind, strength, bool(value.get("sound", True)), bool(value.get("notify", False)))

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("symbol", "timeframe", "kind", "strength", "sound", "notify")}


@dataclass(frozen=True, slots=True)
class Preferences:
    """One visitor's choices. A value that exists is valid."""

    theme: str = "dark"
    pair: str = "classic"
    zone: str = "UTC"
    bars: int = 180
    sound: bool = False
    has_seen_intro: bool = False
    watched: tuple[str, ...] = ()
    rules: tuple[AlertRule, ...] = field(default=())

    @property
    def zone_info(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Read the choices of a request's cookies; what is missing or bad is the default."""
        kept = request.COOKIES
        theme, pair, zone = kept.get("smc_theme", ""), kept.get("smc_pair", ""), unquote(kept.get("smc_zone", ""))
        bars, watched = kept.get("smc_bars", ""), unquote(kept.get("smc_watch", "")).split(",")
        return cls(
            theme=theme if theme in THEMES else "dark",
            pair=pair if pair in PAIRS else "classic",
            zone=zone if zone in zone_names() else "UTC",
            bars=int(bars) if bars in map(str, BARS) else 180,
            sound=kept.get("smc_sound") == "on",
            has_seen_intro=kept.get("smc_intro") == "seen",
            watched=tuple(symbol for symbol in watched[:MAX_WATCHED] if SYMBOL_PATTERN.fullmatch(symbol)),
            rules=_read_rules(unquote(kept.get("smc_alerts", ""))),
        )


def _read_rules(text: str) -> tuple[AlertRule, ...]:
    try:
        values = json.loads(text) if text else []
    except (ValueError, RecursionError):
        return ()
    read = (AlertRule.of(value) for value in values[:MAX_RULES]) if isinstance(values, list) else ()
    return tuple(rule for rule in read if rule is not None)


def keep(answer: HttpResponse, request: HttpRequest, **choices: str) -> None:
    """Set cookies of a visitor's choices on ``answer``."""
    for name, value in choices.items():
        answer.set_cookie(
            f"smc_{name}", quote(value, safe=""), max_age=_YEAR_SECONDS, samesite="Lax", secure=request.is_secure()
        )


def rules_text(rules: tuple[AlertRule, ...]) -> str:
    """Write the newest rules as their cookie keeps them."""
    return json.dumps([rule.as_dict() for rule in rules[-MAX_RULES:]], separators=(",", ":"))
