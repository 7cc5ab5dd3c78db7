"""Which process leads: a key in Redis that its holder renews and that ends by itself."""

import json
import os
import socket
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis import Redis
from redis.exceptions import RedisError

TTL_SECONDS = 6.0
RENEW_SECONDS = 1.5

_RENEW = """
local held = redis.call('GET', KEYS[1])
if not held then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1 end
if held ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
_REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Lease:
    """The lead of one shard, and who holds it."""

    def __init__(self, redis: "Redis", *, shard: str) -> None:
        self._redis = redis
        self._key = f"smc:stream:lease:{shard}"
        self._me = json.dumps({"id": uuid4().hex, **_identity()}, sort_keys=True)
        self._renew = redis.register_script(_RENEW)
        self._replace = redis.register_script(_REPLACE)
        self._release = redis.register_script(_RELEASE)
        self.holder: dict[str, Any] | None = None

    def acquire(self) -> bool:
        """Take the lead when nobody has it, or when the one who has it is dead for certain.

        Raises ``RedisError`` when there is no way to know.
        """
        if self._redis.set(self._key, self._me, nx=True, px=_ttl()):
            self.holder = json.loads(self._me)
            return True
        held = self._redis.get(self._key)
        if held is None:
            return False
        self.holder = json.loads(held)
        # Killed and started again on the same machine: no need to wait until the lease ends by itself.
        if _is_dead(self.holder) and self._replace(keys=[self._key], args=[held, self._me, _ttl()]):
            self.holder = json.loads(self._me)
            return True
        return False

    def renew(self) -> bool | None:
        """Keep the lead. False when another has it; None when Redis does not answer, which takes no lead away."""
        try:
            return bool(self._renew(keys=[self._key], args=[self._me, _ttl()]))
        except (RedisError, OSError):
            return None

    def release(self) -> None:
        """Give up the lead, so that nobody has to wait."""
        try:
            self._release(keys=[self._key], args=[self._me])
        except (RedisError, OSError):
            return  # it ends by itself


def _ttl() -> int:
    return round(TTL_SECONDS * 1000)


def _identity() -> dict[str, Any]:
    return {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "started": _started(os.getpid())}


def _is_dead(holder: dict[str, Any]) -> bool:
    """Say whether the holder was a process of this machine that has ended. A stopped one has not."""
    if (holder.get("host"), holder.get("boot")) != (socket.gethostname(), _boot()) or not _boot():
        return False
    return _started(int(holder["pid"])) != holder.get("started")


def _boot() -> str:
    """Name this machine since its start, and this container's view of its processes."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - not a path
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {namespace}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process was started, in the kernel's own count; empty when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
