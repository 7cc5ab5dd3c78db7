"""The stream worker's own small web server: ``/health`` and ``/metrics``."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from signals.feed.report import Collector, health
from signals.feed.runner import StreamRunner


class Door:
    """Answers in threads of its own, so that it tells the truth when the stream hangs.

    ``/metrics`` is for those whose header X-Shared-Secret ``opens`` it; ``/health`` is for everyone.
    """

    def __init__(self, runner: StreamRunner, *, host: str, port: int, opens: Callable[[bytes], bool]) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector(runner))
        self._server = ThreadingHTTPServer((host, port), _handler(runner, registry, opens))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="stream-door", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(
    runner: StreamRunner, registry: CollectorRegistry, opens: Callable[[bytes], bool]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "smc"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/health":
                status, told = health(runner)
                self._answer(status, "application/json", json.dumps(told).encode())
            elif path == "/metrics" and self._may_pass():
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif path == "/metrics":
                self._answer(401, "text/plain", b"X-Shared-Secret is missing or wrong\n")
            else:
                self._answer(404, "text/plain", b"/health or /metrics\n")

        def _may_pass(self) -> bool:
            return opens(self.headers.get("X-Shared-Secret", "").encode("latin-1", "replace"))

        def _answer(self, status: int, media: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Say nothing: probes come every few seconds."""

    return Handler
