"""Sockets of the whole application, and who says what they hear."""

from collections.abc import AsyncIterator, Iterator

import pytest
from django.conf import settings

from signals.push.hub import hub
from signals.push.sender import Sender
from smcsite.asgi import application
from tests.brokers import emptied
from tests.signals.live.sockets import Client, Open, Socket


@pytest.fixture
async def open_socket() -> AsyncIterator[Open]:
    sockets: list[Socket] = []

    async def connect() -> Client:
        socket = Socket(application, [(b"host", b"localhost:8000")])
        sockets.append(socket)
        assert await socket.connect() == 0
        return Client(socket)

    yield connect
    for socket in sockets:
        await socket.disconnect()
    await hub().close()


@pytest.fixture
def sender() -> Iterator[Sender]:
    with emptied(settings.REDIS_URLS[1]):
        sender = Sender(settings.REDIS_URLS[1], epoch=1, shard="1of1")
        sender.start()
        yield sender
        sender.close()
