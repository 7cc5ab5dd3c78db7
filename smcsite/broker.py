"""What the broker has to be: a Redis that throws no job away when its memory is short."""

from smcsite.heartbeats import redis_client


def eviction_policy() -> str:
    """Return by which rule the broker throws keys away when its memory is full; an empty text when it never does.

    Raises ``RedisError`` while Redis is away.
    """
    memory = redis_client(0).info("memory")
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    return policy if memory.get("maxmemory") and policy != "noeviction" else ""


def is_out_of_memory() -> bool:
    """Say whether the broker refuses what is to be written. Raises ``RedisError`` while Redis is away."""
    memory = redis_client(0).info("memory")
    return bool(memory.get("maxmemory")) and memory["used_memory"] >= memory["maxmemory"]
