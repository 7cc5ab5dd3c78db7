"""A child process of the supervisor: how it is started, read, told to end, and cleared away."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be
_LONGEST_LINE = 64 * 1024

# For processes of many threads that hold small things for long: with an arena a thread, and another of Arrow's own,
# the freed memory of each is kept beside that of all others, and a process grows by a sixth in a day.
FRUGAL = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}


@dataclass(frozen=True, slots=True)
class Program:
    """What is run; ``command`` is asked anew at every start.

    ``is_foundation`` programs start first and end last, for the others stand on them.
    """

    name: str
    role: str
    command: Callable[[], tuple[str, ...]]
    variables: dict[str, str] = field(default_factory=dict)
    is_foundation: bool = False


class Child:
    """A program that runs, in a session of its own, and dies when this process does."""

    def __init__(self, program: Program, *, restarts: int = 0) -> None:
        supervisor = os.getpid()
        self.program = program
        self.restarts = restarts
        self.started = time.monotonic()
        self.started_at = time.time()
        self._process = subprocess.Popen(  # noqa: S603 - our own programs
            program.command(),
            env={**FRUGAL, **os.environ, **program.variables, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A session of its own: the terminal's Ctrl-C would reach a child twice otherwise.
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(supervisor),  # noqa: PLW1509 - this process has one thread
        )
        self.output: IO[bytes] = self._process.stdout or open(os.devnull, "rb")  # noqa: SIM115, PTH123
        os.set_blocking(self.output.fileno(), False)
        self._unfinished = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def code(self) -> int:
        """The exit code of a child that ended; minus the number of the signal that ended it."""
        return self._process.wait()

    def read_lines(self) -> list[str] | None:
        """Return the lines printed since the last call; None once nothing can come any more."""
        try:
            chunk = os.read(self.output.fileno(), 65_536)
        except BlockingIOError:
            return []
        *lines, rest = (self._unfinished + chunk).split(b"\n")
        if rest and (not chunk or len(rest) > _LONGEST_LINE):
            lines, rest = [*lines, rest], b""
        self._unfinished = rest
        return [line.decode(errors="replace").rstrip("\r") for line in lines] if lines or chunk else None

    def end(self) -> None:
        """Ask it to end by itself."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and whatever it started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        finally:
            self._process.wait()


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends, however that ends (Linux)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
