"""How long a person stays signed in: 12 hours without a request, 7 days at most."""

import time
from typing import Any

_IDLE_SECONDS, _LONGEST_SECONDS, _NOTE_SECONDS = 12 * 3600, 7 * 86_400, 300


def is_session_over(session: Any) -> bool:
    """Say whether a session was idle for too long or has lasted too long."""
    now = int(time.time())
    return bool(now - session.get("seen", now) > _IDLE_SECONDS or now - session.get("began", now) > _LONGEST_SECONDS)


def note_use(session: Any) -> None:
    """Note that a session is in use; written every few minutes only."""
    now = int(time.time())
    if "began" not in session or now - session.get("seen", now) > _NOTE_SECONDS:
        session["began"], session["seen"] = session.get("began", now), now
