"""What the settings page asks of a visitor."""

from dataclasses import asdict
from typing import Any

from django import forms

from markets.forms import TIMEFRAMES, AccessibleForm, clean_symbol
from signals.engine import Kind
from smcsite.preferences import BARS, PAIRS, THEMES, AlertRule, Preferences, zone_names


def _zones() -> list[tuple[str, Any]]:
    """Return the zones grouped by region, as the browser's list shows them."""
    regions: dict[str, list[tuple[str, str]]] = {}
    for name in zone_names():
        region, _, place = name.partition("/")
        if place:
            regions.setdefault(region, []).append((name, name))
    return [("UTC", "UTC"), *regions.items()]


class PreferencesForm(AccessibleForm):
    """How pages look and tell times."""

    theme = forms.ChoiceField(label="Theme", choices=list(THEMES.items()))
    pair = forms.ChoiceField(label="Colours", choices=list(PAIRS.items()))
    zone = forms.ChoiceField(label="Time zone", choices=_zones, help_text="Of pages and charts; data stay UTC.")
    bars = forms.TypedChoiceField(
        label="Candles shown",
        choices=[(each, f"{each:,}") for each in BARS],
        coerce=int,
        help_text="When a chart opens.",
    )
    sound = forms.BooleanField(label="Alert sound", required=False)

    def __init__(self, *args: Any, initial: Preferences | None = None, **kwargs: Any) -> None:
        super().__init__(*args, initial=None if initial is None else asdict(initial), **kwargs)

    @property
    def choices(self) -> dict[str, str]:
        """Return what the cookies are to keep."""
        cleaned = self.cleaned_data
        kept = {name: str(cleaned[name]) for name in ("theme", "pair", "zone", "bars")}
        return {**kept, "sound": "on" if cleaned["sound"] else "off"}


class AlertForm(AccessibleForm):
    """When to call for attention."""

    symbol = forms.CharField(label="Pair", required=False, max_length=24, help_text="Empty: any")
    timeframe = forms.ChoiceField(label="Timeframe", required=False, choices=[("", "Any"), *TIMEFRAMES])
    kind = forms.ChoiceField(
        label="Kind", required=False, choices=[("", "Any"), *((each.name, each.name) for each in Kind)]
    )
    strength = forms.IntegerField(label="Strength from", min_value=0, max_value=100, initial=60)
    sound = forms.BooleanField(label="Sound", required=False, initial=True)
    notify = forms.BooleanField(label="Notification", required=False)

    def clean_symbol(self) -> str:
        text = self.cleaned_data["symbol"].strip()
        return clean_symbol(text) if text else ""

    def to_rule(self) -> AlertRule:
        return AlertRule(**self.cleaned_data)
