"""What the backtest pages ask of a person; fields are made of the parameters, so that each is told once."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from django import forms
from django.conf import settings
from django.forms import BoundField
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from backtests.engine.bench import TARGETS, USUAL_TARGET
from backtests.engine.methods.sweep import FIXED, MOST_SETTINGS
from backtests.engine.parameters import Group, Parameter, ParameterType, unknown_name
from backtests.engine.ranges import read_values
from backtests.engine.spec import IDENTITY, BacktestSpec, parameters_for
from backtests.engine.strategies import STRATEGIES, Breakout
from markets.errors import InvalidInputError
from markets.forms import TIMEFRAMES, AccessibleForm, TimeField
from markets.selectors import known_series

USUAL_STRATEGY = Breakout.name

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
    "sqn": "SQN",
}
_OPEN = frozenset({Group.STRATEGY})
# The fields that make a sweep of a run, with what they hold when it is to be a single one.
SWEEP_USUAL = {"axis_1": "", "values_1": "", "axis_2": "", "values_2": "", "metric": USUAL_TARGET}
_AXES = (("axis_1", "values_1"), ("axis_2", "values_2"))
_LONGEST_VALUES = 10_000
_TYPED = {ParameterType.WHOLE: "1", ParameterType.NUMBER: "any"}


class BacktestForm(AccessibleForm):
    """A run's specification. After ``is_valid``, ``spec`` holds it, and ``axes`` the values of a sweep's parameters."""

    symbol = forms.MultipleChoiceField(label="Pairs", widget=forms.CheckboxSelectMultiple)
    timeframe = forms.ChoiceField(label="Timeframe", choices=TIMEFRAMES, initial="15m")
    strategy = forms.ChoiceField(
        label="Strategy", choices=[(each, each.replace("_", " ")) for each in STRATEGIES], initial=USUAL_STRATEGY
    )
    note = forms.CharField(label="Note", required=False, max_length=200)

    def __init__(self, data: Any = None, *, strategy: str = "", initial: Mapping[str, Any] | None = None) -> None:
        given = data if data is not None else {**(initial or {}), "strategy": strategy}
        self.chosen = _known(given.get("strategy"))
        self.parameters = asked_parameters(self.chosen, given.get("compared"))
        self.spec: BacktestSpec | None = None
        self.axes: dict[str, list[Any]] = {}
        defaults: dict[str, Any] = {**SWEEP_USUAL, **{each.name: each.default for each in self.parameters.values()}}
        first = {**defaults, **(initial or {}), "strategy": self.chosen}
        self._is_usual = data is None and all(first[name] == value for name, value in defaults.items())
        super().__init__(data, initial=first)
        symbols = list(dict.fromkeys(key.symbol for key in known_series()))
        self.fields["symbol"].choices = [(each, each) for each in symbols]  # type: ignore[attr-defined]
        self.fields["from"] = _moment("From", "UTC; empty: the first candle")
        self.fields["to"] = _moment("To", "UTC, exclusive; empty: the last candle")
        self.fields |= {each.name: _field(each) for each in self.parameters.values()}
        self.fields |= _sweep_fields(self.parameters)
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
        """Yield each group of parameters, and the sweep over them: its title, whether it is open, its fields."""
        for group, title in _TITLES.items():
            bound = [self[each.name] for each in self.parameters.values() if each.group is group]
            has_error = any(each.errors for each in bound)
            if bound:
                yield title, group in _OPEN or has_error, bound
        sweep = [self[name] for name in SWEEP_USUAL]
        is_asked = any(each.value() != SWEEP_USUAL[each.name] or each.errors for each in sweep)
        yield "Sweep: try several values", is_asked, sweep

    @property
    def sweep_options(self) -> dict[str, Any]:
        """Return the options of the sweep that was asked for."""
        return {"axes": self.axes, "metric": self.cleaned_data["metric"]}

    def refuse(self, error: InvalidInputError) -> None:
        """Tell an error beside the field it names; what is wrong with values that vary, beside those values."""
        beside = {self.cleaned_data.get(axis): values for axis, values in _AXES if self.cleaned_data.get(axis)}
        if beside:
            beside["axes"] = list(beside.values())[-1]
        name = beside.get(error.field, error.field)
        self.add_error(name if name in self.fields else None, str(error))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for axis, values in _AXES:
            if axis in cleaned and values in cleaned:
                self._read_axis(axis, values)
        if self.errors:
            return cleaned
        given = {name: cleaned[name] for name in (*IDENTITY, *self.parameters) if cleaned.get(name) not in (None, "")}
        given["symbol"] = ",".join(cleaned["symbol"])
        try:
            self.spec = BacktestSpec.of(given)
        except InvalidInputError as error:
            self.refuse(error)
        return cleaned

    def _read_axis(self, axis: str, values: str) -> None:
        name, text = self.cleaned_data[axis], self.cleaned_data[values]
        if name in self.axes:
            self.add_error(axis, f"Must be another parameter than the first, was {name} again.")
        elif name:
            try:
                self.axes[name] = read_values(self.parameters[name], text, most=MOST_SETTINGS)
            except InvalidInputError as error:
                self.add_error(values, str(error))
        elif text:
            self.add_error(axis, "Must be the parameter that takes these values.")


def asked_parameters(strategy: str | None, compared: str | None) -> dict[str, Parameter]:
    """Return the parameters of a strategy, and of the one it is compared with; unknown ones are the usual one."""
    return parameters_for(_known(strategy), compared=_known(compared))


def _known(strategy: str | None) -> str:
    return strategy if strategy in STRATEGIES else USUAL_STRATEGY


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


def _sweep_fields(parameters: Mapping[str, Parameter]) -> dict[str, forms.Field]:
    """Return the fields that make a sweep of a run: up to two parameters with their values, and what judges them."""
    told = {
        "axis_1": ("First parameter", "when one is chosen, Run makes a run of every value"),
        "values_1": ("Values of the first", "by comma, or from:to:step such as 1:3:0.5"),
        "axis_2": ("Second parameter", "every value of it with every one of the first"),
        "values_2": ("Values of the second", "by comma, or from:to:step"),
        "metric": ("Judged by", "the figure of every run that is compared"),
    }
    common: dict[str, dict[str, Any]] = {
        name: {"label": label, "help_text": text, "required": False} for name, (label, text) in told.items()
    }
    fields: dict[str, forms.Field] = {}
    for axis, values in _AXES:
        fields[axis] = _AxisField(parameters, **common[axis])
        fields[values] = forms.CharField(max_length=_LONGEST_VALUES, **common[values])
    metrics = [(each, _label(each)) for each in TARGETS]
    wrong = {"invalid_choice": f"Must be one of {', '.join(TARGETS)}."}
    fields["metric"] = forms.ChoiceField(choices=metrics, error_messages=wrong, **common["metric"])
    return fields


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
        if value is None:
            # Not left empty but not sent at all: the fields of another strategy were shown.
            return self._parameter.default
        text = super().clean(value)
        try:
            return self._parameter.read(text)
        except InvalidInputError as error:
            raise forms.ValidationError(str(error)) from None


class _AxisField(forms.ChoiceField):
    """A parameter that a sweep varies: any that has one value at a time."""

    def __init__(self, parameters: Mapping[str, Parameter], **kwargs: Any) -> None:
        varied = [
            each for each in parameters.values() if each.type is not ParameterType.CHOICES and each.name not in FIXED
        ]
        groups = [(title, [each.name for each in varied if each.group is group]) for group, title in _TITLES.items()]
        named = [(title, [(name, _label(name)) for name in names]) for title, names in groups if names]
        super().__init__(choices=[("", "–"), *named], **kwargs)
        self._names = [each.name for each in varied]

    def validate(self, value: Any) -> None:
        if value and value not in self._names:
            raise forms.ValidationError(str(unknown_name("parameter", value, self._names)))
