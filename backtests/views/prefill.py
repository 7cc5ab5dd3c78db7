"""What the address of the form of a new run says: the values that it begins with."""

from contextlib import suppress
from typing import Any

from django.http import QueryDict

from backtests.engine.spec import parameters_for
from backtests.engine.strategies import STRATEGIES
from backtests.forms import SWEEP_USUAL, USUAL_STRATEGY
from markets.errors import InvalidInputError

_AS_TYPED = ("timeframe", "from", "to", *SWEEP_USUAL)


def from_address(query: QueryDict) -> dict[str, Any]:
    """Return the values that an address names; those that no run could have are left to the form's usual ones."""
    given: dict[str, Any] = {name: query[name] for name in _AS_TYPED if query.get(name)}
    strategy = query.get("strategy", "")
    for parameter in parameters_for(strategy if strategy in STRATEGIES else USUAL_STRATEGY).values():
        if parameter.name in query:
            with suppress(InvalidInputError):
                given[parameter.name] = parameter.read(",".join(query.getlist(parameter.name)))
    return {**given, "symbol": query.getlist("symbol")}
