"""Runs the stream worker: ``manage.py runstream``."""

import asyncio
import contextlib
import logging
import re
import signal
from argparse import ArgumentTypeError
from typing import Any

from channels.routing import get_default_application
from channels.worker import Worker
from django.conf import settings
from django.core.management.base import CommandParser
from django.utils.module_loading import import_string

from markets.management.base import SmcCommand, port_from
from signals.feed.door import Door
from signals.feed.runner import set_shard, stream_runner
from signals.feed.wishes import Shard
from signals.push.channels import channel_layer
from signals.push.status import MOST_SHARDS
from signals.services.starting import load_engine

logger = logging.getLogger(__name__)

CHANNEL = "binance-stream"
_ENSURE_SECONDS = 3.0
_RETRY_SECONDS = 1.0


class Command(SmcCommand):
    help = "Keep the market's candles and signals live: a Channels worker that leads, or stands by for the leader."
    is_service = True

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--shard", type=shard, default=Shard(), help="I/N: follow the I-th of N parts of the pairs")
        parser.add_argument("--port", type=port_from(1), help="of /health and /metrics; default: WORKER_PORT")

    def run(self, **options: Any) -> None:
        environment = settings.ENV
        set_shard(options["shard"])
        port = options["port"] if options["port"] is not None else environment.worker_port
        runner = stream_runner()
        try:
            opens = import_string(settings.CALLER_CHECK)
            door = Door(runner, host=environment.worker_host, port=port, opens=opens)
        except OSError as error:
            self.fail(f"WORKER_PORT: cannot listen on {environment.worker_host}:{port}: {error.strerror}")
        load_engine()
        asyncio.run(_serve())
        runner.stop()
        door.close()


async def _serve() -> None:
    """Run the worker of the one channel until a signal comes. One channel: with two, one of them may fall deaf."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopping.set)
    tasks = [asyncio.create_task(_listen()), asyncio.create_task(_keep_alive())]
    await stopping.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with contextlib.suppress(Exception):
        await channel_layer().flush()


async def _listen() -> None:
    """Hear the nudges. What ends the worker, as a lost connection to Redis, starts a new one: the stream goes on."""
    while True:
        worker: Any = Worker(application=get_default_application(), channels=[CHANNEL], channel_layer=channel_layer())
        try:
            await worker.arun()
        except Exception as error:  # noqa: BLE001 - whatever it is, there must be a worker
            logger.warning("the stream's channel is disturbed", extra={"error": f"{type(error).__name__}: {error}"})
        await asyncio.sleep(_RETRY_SECONDS)


async def _keep_alive() -> None:
    """Tell the consumer again and again to keep the stream alive; without Redis, do it here."""
    layer = channel_layer()
    while True:
        try:
            await layer.send(CHANNEL, {"type": "stream.ensure"})
        except Exception:  # noqa: BLE001 - the channel is one way of two
            logger.debug("the channel layer is away")
        await asyncio.to_thread(stream_runner().ensure)
        await asyncio.sleep(_ENSURE_SECONDS)


def shard(text: str) -> Shard:
    match = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= MOST_SHARDS:
        raise ArgumentTypeError(f"must be I/N with I from 1 to N and N up to {MOST_SHARDS}, was {text!r}")
    return Shard(int(match[1]), int(match[2]))
