"""Tickets for sockets: whoever may call the API gets one, which opens one socket within half a minute."""

import secrets

from redis.exceptions import RedisError
from rest_framework.request import Request

from markets.errors import ServiceUnavailableError
from smcsite.heartbeats import redis_client
from smcsite.security.credentials import Credential

TICKET_SECONDS = 30
_PREFIX = "smc:ticket:"


def issue_ticket(request: Request) -> str:
    """Return a new ticket that stands for the caller of ``request``."""
    ticket = secrets.token_urlsafe(32)
    holder = f"key:{request.auth.id}" if isinstance(request.auth, Credential) else f"user:{request.user.pk or 0}"
    try:
        redis_client(3).set(f"{_PREFIX}{ticket}", holder, ex=TICKET_SECONDS)
    except (RedisError, OSError) as error:
        raise ServiceUnavailableError("tickets cannot be kept just now") from error
    return ticket


def redeem_ticket(ticket: str) -> str | None:
    """Return whom a ticket stands for, once: it is worth nothing afterwards."""
    if not 20 <= len(ticket) <= 100 or not ticket.isascii():
        return None
    try:
        holder = redis_client(3).getdel(f"{_PREFIX}{ticket}")
    except (RedisError, OSError):
        return None
    return holder.decode() if isinstance(holder, bytes) else None
