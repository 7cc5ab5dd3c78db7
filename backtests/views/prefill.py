"""What the address of the form of a new run says: the values that it begins with."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from backtests.engine.parameters import stored
from backtests.engine.spec import parameters_for
from backtests.forms import SWEEP_USUAL, asked_parameters
from markets.errors import InvalidInputError

_AS_TYPED = ("timeframe", "from", "to", *SWEEP_USUAL)


def from_address(query: QueryDict) -> dict[str, Any]:
    """Return the values that an address names; those that no run could have are left to the form's usual ones."""
    given: dict[str, Any] = {name: query[name] for name in _AS_TYPED if query.get(name)}
    for parameter in asked_parameters(query.get("strategy"), query.get("compared")).values():
        if parameter.name in query:
            with suppress(InvalidInputError):
                given[parameter.name] = parameter.read(",".join(query.getlist(parameter.name)))
    return {**given, "symbol": query.getlist("symbol")}


def to_address(spec: Mapping[str, Any], setting: Mapping[str, Any]) -> str:
    """Return the address of the form filled with a specification as rows hold it, some parameters changed."""
    values = {**spec, **setting}
    known = parameters_for(spec["strategy"], compared=values.get("compared"))
    changed = {name: _text(values[name]) for name, each in known.items() if values[name] != stored(each.default)}
    times = {name: spec[name] for name in ("from", "to") if spec[name]}
    asked = {"strategy": spec["strategy"], "timeframe": spec["timeframe"], "symbol": spec["symbol"].split(",")}
    return f"{reverse('backtests')}?{urlencode({**asked, **times, **changed}, doseq=True)}#backtest-form"


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
