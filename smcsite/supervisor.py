"""One process that runs all others: starts them, relays what they print, restarts what dies, ends them together.

It is a single thread around one ``select``, so that nothing runs between a fork and its exec.
"""

import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from signals.push.processes import RunningProcess, note_processes
from smcsite.child import Child, Program

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_PROVEN_SECONDS = 30.0
# Ctrl-C ends everything within 5 s: this long to end by themselves, then they are killed.
_GRACE_SECONDS, _LAST_GRACE_SECONDS = 3.5, 0.8
_TICK = 0.2


@dataclass(frozen=True, slots=True)
class _Restart:
    """A program that died, and when it is started again."""

    program: Program
    due: float
    restarts: int


class Supervisor:
    """Runs programs until a signal tells it to stop."""

    def __init__(self, folder: Path, *, json_lines: bool) -> None:
        self._folder = folder
        self._json_lines = json_lines
        self._children: list[Child] = []
        self._restarts: list[_Restart] = []
        self._failures: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._stop_signals = 0

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take SIGINT, SIGTERM and SIGHUP as the wish to stop, while the block runs."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._selector.register(reader, selectors.EVENT_READ)
        former_wakeup = signal.set_wakeup_fd(writer)
        former = {each: signal.signal(each, self._on_signal) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for each, handler in former.items():
                signal.signal(each, handler)
            signal.set_wakeup_fd(former_wakeup)
            self._selector.unregister(reader)
            os.close(reader)
            os.close(writer)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stop_signals += 1

    @property
    def was_told_to_stop(self) -> bool:
        return self._stop_signals > 0

    def start(self, program: Program, *, restarts: int = 0) -> Child:
        child = Child(program, restarts=restarts)
        self._children.append(child)
        self._selector.register(child.output, selectors.EVENT_READ, child)
        self._note_processes()
        return child

    def run(self, *, is_ready: Callable[[], bool], on_ready: Callable[[], None]) -> None:
        """Keep everything running until a signal comes.

        ``is_ready`` is asked again and again until it says yes once; then ``on_ready`` is called.
        """
        was_ready = False
        while not self.was_told_to_stop:
            self._relay(_TICK)
            self._look_after()
            if not was_ready and is_ready():
                was_ready = True
                on_ready()

    def run_once(self, program: Program) -> int:
        """Run a program to its end while looking after the others; return its exit code.

        When a signal comes first, it is killed.
        """
        child = self.start(program)
        while child.is_running and not self.was_told_to_stop:
            self._relay(_TICK)
            self._look_after(but=child)
        self._clear_away(child)
        return child.code

    def stop(self) -> None:
        """End every child, foundations last; kill what does not end in time."""
        self._restarts.clear()
        for are_foundations, seconds in ((False, _GRACE_SECONDS), (True, _LAST_GRACE_SECONDS)):
            self._end([each for each in self._children if each.program.is_foundation == are_foundations], seconds)

    def say(self, line: str, *, name: str = "serve") -> None:
        """Print a line as the supervisor's or a child's own."""
        if not self._json_lines:
            text = f"{name:<9} | {line}"
        elif line.startswith("{"):
            text = line
        else:
            text = json.dumps({"level": "INFO", "logger": name, "message": line})
        try:
            print(text, flush=True)  # noqa: T201 - this is what it is for
        except OSError:
            # Whoever read our output is gone; the service goes on without it.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the process's life

    def _look_after(self, *, but: Child | None = None) -> None:
        now = time.monotonic()
        for child in [each for each in self._children if each is not but and not each.is_running]:
            self._clear_away(child)
            self._plan_restart(child, now)
        for restart in [each for each in self._restarts if each.due <= now]:
            self._restarts.remove(restart)
            try:
                self.start(restart.program, restarts=restart.restarts)
            except OSError as error:
                # No memory or no process to be had now: that is no reason to end the others.
                self.say(f"{restart.program.name} cannot be started: {error}; trying again in {_LONGEST_DELAY:g} s")
                self._restarts.append(_Restart(restart.program, now + _LONGEST_DELAY, restart.restarts))

    def _plan_restart(self, child: Child, now: float) -> None:
        name = child.program.name
        failures = 1 if now - child.started >= _PROVEN_SECONDS else self._failures.get(name, 0) + 1
        self._failures[name] = failures
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (failures - 1))
        ending = f"was ended by {signal.Signals(-child.code).name}" if child.code < 0 else f"ended with {child.code}"
        self.say(f"{name} {ending}; starting it again in {delay:g} s")
        self._restarts.append(_Restart(child.program, now + delay, child.restarts + 1))

    def _end(self, group: Sequence[Child], seconds: float) -> None:
        told = self._stop_signals
        deadline = time.monotonic() + seconds
        for child in group:
            child.end()
        # Whoever asks a second time does not want to wait.
        while any(each.is_running for each in group) and time.monotonic() < deadline and self._stop_signals <= told:
            self._relay(0.05)
        for child in group:
            if child.is_running:
                self.say(f"{child.program.name} did not end in time and is killed")
            self._clear_away(child)

    def _clear_away(self, child: Child) -> None:
        """End what is left of a child and relay its last words."""
        child.kill()
        # A process that left the group may hold the pipe open for ever, so only what is there now is read.
        while child.output in self._readable(0) and self._relay_one(child):
            pass
        if child.output in {key.fileobj for key in self._selector.get_map().values()}:
            self._selector.unregister(child.output)
        child.output.close()
        self._children.remove(child)
        self._note_processes()

    def _relay(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                os.read(key.fd, 64)  # the wake-up of a signal
            else:
                self._relay_one(key.data)

    def _readable(self, seconds: float) -> list[object]:
        return [key.fileobj for key, _ in self._selector.select(seconds)]

    def _relay_one(self, child: Child) -> bool:
        lines = child.read_lines()
        if lines is None:
            self._selector.unregister(child.output)
            return False
        for line in lines:
            self.say(line, name=child.program.name)
        return True

    def _note_processes(self) -> None:
        told = [
            RunningProcess(each.program.role, each.pid, each.started_at, each.restarts)
            for each in self._children
            if each.is_running and each.program.role != "prepare"
        ]
        try:
            note_processes(self._folder, told)
        except OSError as error:
            # Only a note for the status page: on a full disk everything goes on without it.
            self.say(f"the processes cannot be noted: {error}")
