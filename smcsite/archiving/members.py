"""What the writer of an archive and its reader have in common: the names of members, and how files are made."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

Report = Callable[[float, str], None]

DIGESTS = "digests.json"
DATABASE, ROWS = "database.sqlite3", "database.json"


@dataclass(frozen=True, slots=True)
class Archived:
    """What was written or unpacked."""

    files: int
    size: int


def created(path: Path, mode: int) -> BinaryIO:
    """Open a new file that has this mode from its first byte on."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")
