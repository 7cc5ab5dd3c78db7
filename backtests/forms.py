"""What the backtest pages ask of a person; fields are made of the parameters, so that each is told once."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from django import forms
from django.conf import settings
from django.forms import BoundField
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from backtests.engine.parameters import Group, Parameter, ParameterType
from backtests.engine.spec import IDENTITY, BacktestSpec, parameters_for
from backtests.engine.strategies import STRATEGIES
from markets.errors import InvalidInputError
from markets.forms import TIMEFRAMES, AccessibleForm, TimeField
from markets.selectors import known_series

USUAL_STRATEGY = "breakout"

_TITLES = {
    Group.STRATEGY: "Strategy",
    Group.EXITS: "Exits",
    Group.COSTS: "Costs",
    Group.ACCOUNT: "Account",
    Group.DETECTOR: "Detector",
}
# How people write what names and choices have in small or capital letters only.
_WRITTEN = {
    "atr": "ATR",
    "r": "R",
    "pct": "%",
    "CHOCH": "CHoCH",
    "eq": "EQ",
    "ob": "OB",
    "fvg": "FVG",
    "sl": "SL",
    "tp": "TP",
}
_OPEN = frozenset({Group.STRATEGY})
_TYPED = {ParameterType.WHOLE: "1", ParameterType.NUMBER: "any"}


class BacktestForm(AccessibleForm):
    """A run's specification. After ``is_valid``, ``spec`` holds it."""

    symbol = forms.MultipleChoiceField(label="Pairs", widget=forms.CheckboxSelectMultiple)
    timeframe = forms.ChoiceField(label="Timeframe", choices=TIMEFRAMES, initial="15m")
    strategy = forms.ChoiceField(
        label="Strategy", choices=[(each, each.replace("_", " ")) for each in STRATEGIES], initial=USUAL_STRATEGY
    )
    note = forms.CharField(label="Note", required=False, max_length=200)

    def __init__(self, data: Any = None, *, strategy: str = "", initial: Mapping[str, Any] | None = None) -> None:
        wanted = (data.get("strategy") if data is not None else strategy) or USUAL_STRATEGY
        self.chosen = wanted if wanted in STRATEGIES else USUAL_STRATEGY
        self.parameters = parameters_for(self.chosen)
        self.spec: BacktestSpec | None = None
        defaults: dict[str, Any] = {each.name: each.default for each in self.parameters.values()}
        first = {**defaults, **(initial or {}), "strategy": self.chosen}
        self._is_usual = data is None and all(first[name] == value for name, value in defaults.items())
        super().__init__(data, initial=first)
        symbols = list(dict.fromkeys(key.symbol for key in known_series()))
        self.fields["symbol"].choices = [(each, each) for each in symbols]  # type: ignore[attr-defined]
        self.fields["from"] = _moment("From", "UTC; empty: the first candle")
        self.fields["to"] = _moment("To", "UTC, exclusive; empty: the last candle")
        self.fields |= {each.name: _field(each) for each in self.parameters.values()}
        self.dress()
        if not first.get("symbol"):
            usual = [each for each in settings.ENV.symbols if each in symbols]
            self.initial["symbol"] = (usual or symbols)[:1]

    @property
    def strategy_fields(self) -> SafeString:
        """Return the fields of the strategy's parameters, written out."""
        return _usual_fields(self.chosen) if self._is_usual else self.written_fields()

    def written_fields(self) -> SafeString:
        return render_to_string("backtests/_strategy_fields.html", {"form": self})

    @property
    def meaning(self) -> str:
        return STRATEGIES[self.chosen].meaning

    @property
    def groups(self) -> Iterator[tuple[str, bool, list[BoundField]]]:
        """Yield each group of parameters: its title, whether it is open, its fields."""
        for group, title in _TITLES.items():
            bound = [self[each.name] for each in self.parameters.values() if each.group is group]
            has_error = any(each.errors for each in bound)
            if bound:
                yield title, group in _OPEN or has_error, bound

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        values = {name: cleaned[name] for name in (*IDENTITY, *self.parameters) if cleaned.get(name) not in (None, "")}
        values["symbol"] = ",".join(cleaned["symbol"])
        try:
            self.spec = BacktestSpec.of(values)
        except InvalidInputError as error:
            self.add_error(error.field if error.field in self.fields else None, str(error))
        return cleaned


@cache
def _usual_fields(strategy: str) -> SafeString:
    """Write the fields as they are before anyone fills them in: some forty inputs that are always the same."""
    return BacktestForm(strategy=strategy).written_fields()


def _moment(label: str, help_text: str) -> TimeField:
    return TimeField(label=label, required=False, help_text=help_text)


def _field(parameter: Parameter) -> forms.Field:
    """Return the form field of a parameter; what it accepts beyond this is checked by the parameter itself."""
    common: dict[str, Any] = {
        "label": _label(parameter.name),
        "help_text": parameter.meaning,
        "required": False,
    }
    match parameter.type:
        case ParameterType.FLAG:
            return forms.BooleanField(**common)
        case ParameterType.CHOICE:
            empty = [("", "–")] if parameter.default is None else []
            return forms.ChoiceField(choices=[*empty, *_choices(parameter)], **common)
        case ParameterType.CHOICES:
            return forms.MultipleChoiceField(choices=_choices(parameter), widget=forms.CheckboxSelectMultiple, **common)
        case _:
            bounds = {"min": f"{parameter.low:.15g}", "max": f"{parameter.high:.15g}", "step": _TYPED[parameter.type]}
            return _ParameterField(parameter, widget=forms.NumberInput(attrs=bounds), **common)


def _label(name: str) -> str:
    first, *others = name.split("_")
    return " ".join([_WRITTEN.get(first, first.capitalize()), *(_WRITTEN.get(each, each) for each in others)])


def _choices(parameter: Parameter) -> list[tuple[str, str]]:
    return [(each, _WRITTEN.get(each, each.replace("_", " "))) for each in parameter.choices]


class _ParameterField(forms.CharField):
    """A number that is read, and refused, by its parameter."""

    def __init__(self, parameter: Parameter, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._parameter = parameter

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return self._parameter.read(text)
        except InvalidInputError as error:
            raise forms.ValidationError(str(error)) from None
