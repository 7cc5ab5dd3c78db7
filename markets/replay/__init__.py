"""A local exchange that speaks Binance's protocol and replays a market at any speed (docs/replay.md)."""
