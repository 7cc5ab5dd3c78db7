"""Which processes serve this data folder: written by the supervisor, read by API, pages and sockets."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

_PATTERN = "processes-*.json"


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process of the service. ``role`` is web, stream, worker, scheduler, broker or exchange."""

    role: str
    pid: int
    started_at: float
    restarts: int = 0


def note_processes(folder: Path, processes: Iterable[RunningProcess]) -> None:
    """Note what this supervisor runs; an empty list takes the note back."""
    path = folder / f"processes-{os.getpid()}.json"
    rows = [asdict(each) for each in processes]
    if not rows:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(rows))
    temporary.replace(path)


def running_processes(folder: Path) -> list[RunningProcess]:
    """Return the processes of all supervisors of this folder that are alive on this machine."""
    found = []
    for path in sorted(folder.glob(_PATTERN)):
        try:
            rows = json.loads(path.read_text())
        except (OSError, ValueError):
            continue  # its supervisor ended just now
        found += [RunningProcess(**row) for row in rows if is_alive(row["pid"])]
    return found


def sweep_processes(folder: Path) -> None:
    """Drop the notes of supervisors that were killed."""
    for path in folder.glob(_PATTERN):
        if not is_alive(int(path.stem.removeprefix("processes-"))):
            path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Say whether a process of this machine lives; a dead one that nobody has reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return _answers_signals(pid) if not Path("/proc/self").exists() else False
    return state != "Z"


def _answers_signals(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
