"""Which code made a report: the commit of the working copy, where there is one."""

import re
from functools import cache
from pathlib import Path

from django.conf import settings

_HASH = re.compile(r"[0-9a-f]{40}")


@cache
def code_commit() -> str:
    """Return the commit that this process was started from, empty outside a working copy."""
    git = Path(settings.BASE_DIR) / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head if _HASH.fullmatch(head) else ""
        loose = git / name
        if loose.exists():
            return loose.read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
