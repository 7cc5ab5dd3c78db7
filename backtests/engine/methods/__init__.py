"""Analyses made of many runs: each is planned as pieces, done piece by piece anywhere, and put together."""

from backtests.engine.methods.costs import Costs
from backtests.engine.methods.look_ahead import LookAhead
from backtests.engine.methods.method import Method, Options, Piece, estimate
from backtests.engine.methods.null import Null
from backtests.engine.methods.sweep import Sweep
from backtests.engine.methods.walk_forward import WalkForward

METHODS: dict[str, Method] = {each.name: each for each in (Sweep(), WalkForward(), Null(), Costs(), LookAhead())}

__all__ = ["METHODS", "Method", "Options", "Piece", "estimate"]
