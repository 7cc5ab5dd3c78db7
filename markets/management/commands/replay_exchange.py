"""Runs the local exchange: ``manage.py replay_exchange --source synthetic --speed 60 --port 9000``."""

import signal
import time
from argparse import ArgumentTypeError
from types import FrameType
from typing import Any

from django.core.management.base import CommandParser

from markets.management.base import SmcCommand, moment
from markets.replay.clock import VirtualClock
from markets.replay.server import ReplayExchange, listening_socket, make_server
from markets.replay.synthetic import SyntheticMarket
from markets.series import parse_symbol


class Command(SmcCommand):
    help = "Serve a market on Binance's protocol (REST, streams, archive) at any speed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--source", default="synthetic", help="synthetic, store, or a Parquet or CSV file")
        parser.add_argument("--symbols", default="BTCUSDT,ETHUSDT,BNBUSDT", help="pairs, separated by commas")
        parser.add_argument("--speed", type=speed, default=60.0, help="exchange seconds a real second; default: 60")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=9000, help="0 takes a free one; default: 9000")
        parser.add_argument("--seed", type=int, default=1, help="of the synthetic market; default: 1")
        parser.add_argument("--start", type=moment, help="exchange time at start (UTC); default: now")

    def run(self, **options: Any) -> None:
        symbols = [parse_symbol(symbol.strip()) for symbol in options["symbols"].split(",")]
        market = SyntheticMarket(symbols, seed=options["seed"])
        start = options["start"] if options["start"] is not None else time.time_ns() // 1_000_000
        listener = listening_socket(options["host"], options["port"])
        exchange = ReplayExchange(market, VirtualClock(start, speed=options["speed"]))
        host, port = listener.getsockname()
        # Bound already: a client that connects before the server runs waits in the backlog.
        listener.listen()
        self.stdout.write(
            f"replay exchange ready on http://{host}:{port} "
            f"({market.name}, {len(symbols)} symbols, {options['speed']:g}x)"
        )
        self.stdout.flush()
        server = make_server(exchange)

        def stop(number: int, frame: FrameType | None) -> None:
            # uvicorn raises the signal that ended it once more when it is done: here that is an ordinary end.
            server.should_exit = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        server.run(sockets=[listener])


def speed(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100_000:
        raise ArgumentTypeError(f"must be a number from 0 to 100000, was {text!r}")
    return value
