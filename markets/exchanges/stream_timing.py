"""How patient a stream is, and how fast it may talk. Each span says whose clock measures it."""

from dataclasses import dataclass

_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """``*_seconds`` are real seconds; ``*_ms`` pass on the exchange's clock, which a replay may run 600 times as fast.

    Where both are given both must have passed: a span of the exchange's clock alone would be some milliseconds in a
    fast replay, and any hiccup of ours would look like a fault of the connection.
    """

    tick_seconds: float = 0.05
    # Binance takes 5 messages a second, pings among them, 300 connects in 5 minutes of an address (this is a tenth),
    # 1,024 streams a connection; a SUBSCRIBE of 437 streams was seen to fail without a word (ccxws#161).
    send_gap_seconds: float = 0.25
    streams_a_message: int = 200
    streams_a_connection: int = 1_024
    connects: int = 30
    connect_window_seconds: float = 300.0
    open_seconds: float = 20.0
    reply_seconds: float = 5.0
    # Cap of the first wait before it reconnects; it doubles up to the other.
    backoff_first_seconds: float = 5.0
    backoff_cap_seconds: float = 60.0
    # A connection that delivered for this long was a good one: its end starts the back-off anew.
    proven_seconds: float = 6.0
    # A 1m candle closes every minute even without a trade; the rest is for a late frame.
    silence_ms: int = 75_000
    silence_seconds: float = 5.0
    overdue_ms: int = 5_000
    overdue_seconds: float = 1.0
    # Binance ends a connection after 24 h. Up to half an hour earlier than this, so that not all rotate at once.
    rotate_ms: int = 23 * 60 * _MINUTE
    rotate_spread_ms: int = 30 * _MINUTE
    takeover_seconds: float = 5.0
