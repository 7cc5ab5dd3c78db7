"""The ASGI entry: HTTP to Django, sockets and the stream's worker channel to their consumers."""

import os

from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smcsite.settings")
http = get_asgi_application()

# These need the apps that the line above loads.
from channels.auth import AuthMiddlewareStack  # noqa: E402

from signals.consumers import LiveConsumer, StreamConsumer  # noqa: E402
from smcsite.celery import app as celery  # noqa: E402
from smcsite.security.body import BodyCap  # noqa: E402
from smcsite.sockets import Doorkeeper  # noqa: E402

# Here the broker is only written to, while someone waits; the longer timeouts of the settings are for workers.
celery.conf.broker_transport_options = {
    **celery.conf.broker_transport_options,
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
}

application = ProtocolTypeRouter(
    {
        "http": BodyCap(http),
        "websocket": AuthMiddlewareStack(Doorkeeper(LiveConsumer.as_asgi())),
        "channel": ChannelNameRouter({"binance-stream": StreamConsumer.as_asgi()}),
    }
)
