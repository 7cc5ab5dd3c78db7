"""A client of the web server: the least that one can do, so that a time is the server's."""

import socket
import time
from collections.abc import Iterator


class Connection:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))

    def get(self, path: str) -> int:
        """Ask, read the whole answer, and return how long its body was."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head, _, body = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(head.decode())
        length = next(int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
        while len(body) < length:
            body += self._socket.recv(1 << 18)
        return length

    def _until(self, mark: bytes) -> bytes:
        text = b""
        while mark not in text:
            text += self._socket.recv(1 << 18)
        return text

    def stream(self, path: str) -> Iterator[bytes]:
        """Ask for an answer of unknown length, and yield it as it comes."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        while piece := self._socket.recv(1 << 18):
            yield piece


def milliseconds(port: int, path: str, *, times: int) -> list[float]:
    """Return what single requests took, one after the other."""
    connection, taken = Connection(port), []
    for _ in range(times + 20):
        began = time.perf_counter()
        connection.get(path)
        taken.append((time.perf_counter() - began) * 1000)
    return taken[20:]
