"""What a fill costs and how large an order may be (docs/assumptions.md#costs)."""

import math

from signals.engine.compiled import part

# Divisions leave the last digits uncertain: 0.3 / 0.1 is below 3, and a third step must not be lost to that.
_GRAIN = 1e-9


@part
def round_down(value: float, step: float) -> float:
    """Return the largest multiple of ``step`` that is not above ``value``; ``value`` itself without a step."""
    if step <= 0.0:
        return value
    return math.floor(value / step + _GRAIN) * step


@part
def round_up(value: float, step: float) -> float:
    """Return the smallest multiple of ``step`` that is not below ``value``; ``value`` itself without a step."""
    if step <= 0.0:
        return value
    return math.ceil(value / step - _GRAIN) * step


@part
def round_mirrored_down(price: float, side: int, tick: float) -> float:
    """Round a mirrored price down: a long's price falls to a tick, a short's rises."""
    return round_down(price, tick) if side > 0 else -round_up(-price, tick)


@part
def round_mirrored_up(price: float, side: int, tick: float) -> float:
    """Round a mirrored price up: a long's price rises to a tick, a short's falls."""
    return round_up(price, tick) if side > 0 else -round_down(-price, tick)


@part
def bought_at(price: float, side: int, slip: float) -> float:
    """Return the mirrored price of a market entry: ``slip`` (a fraction) worse than ``price``."""
    return price * (1.0 + side * slip)


@part
def sold_at(price: float, side: int, slip: float) -> float:
    """Return the mirrored price of a market exit: ``slip`` (a fraction) worse than ``price``."""
    return price * (1.0 - side * slip)


@part
def risk_quantity(risk_cash: float, risk: float, fees: float) -> float:
    """Return the quantity (base currency) that loses ``risk_cash`` at the stop, fees of both sides included.

    ``risk`` is the distance from entry to stop, ``fees`` the fees of entry and stop, each per unit, in quote
    currency.
    """
    return risk_cash / (risk + fees)
