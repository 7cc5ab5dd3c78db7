"""Runs the local exchange: ``manage.py replay_exchange --source synthetic --speed 60 --port 9000``."""

import re
import signal
import time
from argparse import ArgumentTypeError
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import CommandParser

from markets.candles import Candles
from markets.errors import InvalidInputError, NoCandlesError
from markets.management.base import SmcCommand, moment, port_from
from markets.moments import iso
from markets.replay.clock import VirtualClock
from markets.replay.faults import read_script
from markets.replay.market import Market
from markets.replay.recorded import RecordedMarket
from markets.replay.server import ReplayExchange, listening_socket, make_server
from markets.replay.synthetic import SyntheticMarket
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe, parse_symbol
from markets.store import CandleStore
from markets.store.foreign import read_foreign

_DEFAULT_SYMBOLS = "BTCUSDT,ETHUSDT,BNBUSDT"
_FILE_NAME = re.compile(r"([A-Z0-9]{1,20})[-_.](1m|5m|15m|30m|1h|4h|1d)\b", re.ASCII)
_DAY = 86_400_000
# After the last candle of a file closed, its closing frame and the time until REST counts it as final still pass.
_AFTERGLOW = 15_000


class Command(SmcCommand):
    help = "Serve a market on Binance's protocol (REST, streams, archive) at any speed."
    is_service = True

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--source", default="synthetic", help="synthetic, store, or a Parquet or CSV file")
        parser.add_argument(
            "--symbols",
            help=f"pairs, separated by commas; default: {_DEFAULT_SYMBOLS}, of the store all, of a file its name's",
        )
        parser.add_argument("--timeframe", "--tf", type=timeframe, help="of a file; default: what its candles are")
        parser.add_argument("--speed", type=speed, default=60.0, help="exchange seconds a real second; default: 60")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=port_from(0), default=9000, help="0 takes a free one; default: 9000")
        parser.add_argument("--seed", type=int, default=1, help="of the synthetic market; default: 1")
        parser.add_argument(
            "--start",
            type=moment,
            help="exchange time at start (UTC); default: now, of the store its last day, of a file after 30 days "
            "or 1,000 candles of it",
        )
        parser.add_argument("--faults", type=Path, help="a file of scripted faults (docs/replay.md)")

    def run(self, **options: Any) -> None:
        market, start, end = choose_market(options)
        if options["start"] is not None:
            start = options["start"]
        script = read_script(_read(options["faults"])) if options["faults"] is not None else []
        exchange = ReplayExchange(market, VirtualClock(start, speed=options["speed"], end=end), script=script)
        listener = listening_socket(options["host"], options["port"])
        host, chosen = listener.getsockname()
        # Bound already: a client that connects before the server runs waits in the backlog.
        listener.listen(1024)
        self.stdout.write(
            f"replay exchange ready on http://{host}:{chosen} "
            f"({market.name}, {_count(len(market.listings))}, {options['speed']:g}x from {iso(start // 1000 * 1000)})"
        )
        self.stdout.flush()
        server = make_server(exchange)

        def stop(number: int, frame: FrameType | None) -> None:
            # uvicorn raises the signal that ended it once more when it is done: here that is an ordinary end.
            server.should_exit = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        server.run(sockets=[listener])


def choose_market(options: dict[str, Any]) -> tuple[Market, int, int | None]:
    """Return the market, where its clock starts unless told, and where it ends."""
    symbols = [parse_symbol(each.strip().upper()) for each in (options["symbols"] or "").split(",") if each.strip()]
    if options["source"] == "synthetic":
        chosen = symbols or _DEFAULT_SYMBOLS.split(",")
        return SyntheticMarket(chosen, seed=options["seed"]), time.time_ns() // 1_000_000, None
    if options["source"] == "store":
        return stored_market(candle_store(), symbols)
    series, candles = _read_file(Path(options["source"]), symbols, options["timeframe"])
    recorded = RecordedMarket.of(Path(options["source"]).name, {series: candles})
    first, end = recorded.span()
    history = max(30 * _DAY, 1_000 * series.timeframe.milliseconds)
    return recorded, min(first + history, first + (end - first) // 2), end + _AFTERGLOW


def stored_market(store: CandleStore, symbols: list[str]) -> tuple[Market, int, int | None]:
    """Return the stored series of the pairs, of all when none is named."""
    stored = [series for series in store.series() if not symbols or series.symbol in symbols]
    if not stored:
        raise NoCandlesError(f"nothing is stored of {', '.join(symbols) if symbols else 'any pair'}")
    recorded = RecordedMarket(
        "the store", stored, lambda series: store.read(series, start=None, end=None, with_flow=True)
    )
    first, end = recorded.span()
    return recorded, max(first, end - _DAY), end + _AFTERGLOW


def _read_file(path: Path, symbols: list[str], given: Timeframe | None) -> tuple[SeriesKey, Candles]:
    if not path.is_file():
        raise InvalidInputError(f"--source is synthetic, store or a file; there is no file {path}", field="source")
    named = _FILE_NAME.search(path.name)
    if len(symbols) > 1 or not (symbols or named):
        raise InvalidInputError(f"{path.name}: name the one pair of the file by --symbols", field="symbols")
    symbol = symbols[0] if symbols else named[1] if named else ""
    length = given or (Timeframe(named[2]) if named else None) or _timeframe_of(path)
    candles, _ = read_foreign(path, length)
    return SeriesKey(symbol, length), candles


def _timeframe_of(path: Path) -> Timeframe:
    """Find out the timeframe of a file by the usual step from one candle to the next."""
    candles, _ = read_foreign(path, Timeframe.M1)
    steps = sorted((candles.open_time[1:] - candles.open_time[:-1]).tolist())
    usual = steps[len(steps) // 2] if steps else 0
    found = next((each for each in Timeframe if each.milliseconds == usual), None)
    if found is None:
        raise InvalidInputError(f"{path.name}: tell the timeframe of its candles by --timeframe", field="timeframe")
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidInputError(f"--faults {path}: {error.strerror}", field="faults") from error


def _count(symbols: int) -> str:
    return f"{symbols} symbol" if symbols == 1 else f"{symbols} symbols"


def timeframe(text: str) -> Timeframe:
    try:
        return Timeframe(text)
    except ValueError:
        raise ArgumentTypeError(f"must be one of {', '.join(Timeframe)}, was {text!r}") from None


def speed(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100_000:
        raise ArgumentTypeError(f"must be a number from 0 to 100000, was {text!r}")
    return value
