"""Starts programs of the service in processes that need not import and compile everything first.

Each is a process and a session of its own, forked from one that has the libraries and the engine's machine code in its
memory and knows no settings yet: it reads the environment it is given as if it had just been started.
"""

import multiprocessing
import os
import runpy
import signal
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.waiting import eventually

_WARM = "tests.warm"
_nursery = multiprocessing.get_context("forkserver")
_nursery.set_forkserver_preload([_WARM])


class Started:
    """A program under way, with the words of ``subprocess.Popen``.

    ``arguments`` are what would follow ``python``: ``manage.py`` with a command, or ``-m`` with a module.
    """

    def __init__(self, *arguments: str, folder: Path, variables: dict[str, str], log: Path) -> None:
        self._process = ForkServerProcess(target=_run, args=(arguments, str(folder), variables, str(log)), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        eventually(self._has_session, seconds=60)  # whoever kills its group must find one

    def _has_session(self) -> bool:
        try:
            return os.getsid(self.pid) == self.pid
        except ProcessLookupError:
            return True

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Return the exit code, negative for a signal."""
        self._process.join(timeout_seconds)
        code = self._process.exitcode
        assert code is not None, f"still running after {timeout_seconds} s"
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _run(arguments: tuple[str, ...], folder: str, variables: dict[str, str], log: str) -> None:
    """Become that program."""
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for each in (1, 2):
        os.dup2(descriptor, each)
    os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = list(arguments)
    from django.core.management import execute_from_command_line  # only now: it reads that environment

    execute_from_command_line(sys.argv)
