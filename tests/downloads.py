"""What a streamed answer holds."""

import asyncio
from typing import Any


def body_of(answer: Any) -> bytes:
    """Return the whole body of an answer, streamed or not."""
    if not answer.streaming:
        return bytes(answer.content)
    if not answer.is_async:
        return b"".join(answer.streaming_content)

    async def drain() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    return asyncio.run(drain())
