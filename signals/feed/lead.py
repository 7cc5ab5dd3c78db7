"""What a lead is: the exchange to follow, and the right to write what it tells."""

from collections.abc import Callable
from dataclasses import dataclass

from markets.exchanges import Exchange
from signals.feed.fence import Fence


@dataclass(frozen=True, slots=True)
class Lead:
    """What the work for every series shares for as long as this process leads.

    ``check`` raises ``FencedError`` when the work under way is to end.
    """

    exchange: Exchange
    fence: Fence
    check: Callable[[], None]
