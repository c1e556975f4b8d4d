"""A W&B server on the loopback, as far as its client asks, that fails at will.

It shows that the client was told the right things. How the service draws them, it cannot show.
"""

import base64
import contextlib
import gzip
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from wandb_backend import ENTITY, OPERATIONS, Backend, Json

KEY = "local-" + "0123456789abcdef" * 4

Fault = Literal["", "401", "429", "500", "hang", "reset", "lost", "refuse"]


class WandbServer(Backend):
    """What was told, how it was asked, and the faults."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []  # every request: its GraphQL operation, or its method and path
        self.unknown: list[str] = []  # those that were answered with 400
        self.lock = threading.RLock()
        self.mended = threading.Event()
        self.connections: set[socket.socket] = set()
        self._fault: Fault = ""
        self._before_fault = 0
        self._failing = ""
        self.gate: tuple[str, str] | None = None  # a header that every request must have
        self._http: ThreadingHTTPServer | None = None
        self._open(0)

    def environment(self, folder: Path) -> dict[str, str]:
        """Variables that send a client here, and keep all that it writes in a folder."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB_ENTITY": ENTITY,
            "WANDB_ERROR_REPORTING": "false",  # to W&B, of the client's own errors
            "WANDB_DIR": str(folder),
            **{f"WANDB_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "CACHE", "DATA", "ARTIFACT")},
            "HOME": str(folder),
        }

    def fail(self, fault: Fault, *, after: int = 0, of: str = "") -> None:
        """Fail from now on, or once a number of further requests have been answered; all, or one operation alone.

        "hang" accepts and does not answer, "reset" ends each connection, "lost" does so after it has kept what was
        sent, "refuse" closes the port too.
        """
        with self.lock:
            self._fault, self._before_fault, self._failing = fault, after, of
        self.mended.clear()
        if fault == "refuse" and not after:
            self.close()

    def mend(self) -> None:
        """Answer again, at the same address."""
        self.fail("")
        self.mended.set()
        if self._http is None:
            self._open(int(self.url.rpartition(":")[2]))

    def fault_of(self, request: str) -> Fault:
        """Note a request, and tell how it shall fail."""
        with self.lock:
            self.requests.append(request)
            if self._failing not in ("", request):
                return ""
            if self._fault and self._before_fault:
                self._before_fault -= 1
                return ""
            return self._fault

    def close(self) -> None:
        """Close the port and every connection."""
        with self.lock:
            http, self._http = self._http, None
        if http is not None:
            http.shutdown()
            http.server_close()
        for connection in list(self.connections):
            reset(connection)

    def _open(self, port: int) -> None:
        self._http = _Http(("127.0.0.1", port), type("Handler", (_Handler,), {"backend": self}))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that end; an error of the stand-in itself is answered with 400, and noted."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    backend: WandbServer

    def setup(self) -> None:
        super().setup()
        self.backend.connections.add(self.connection)

    def finish(self) -> None:
        self.backend.connections.discard(self.connection)
        super().finish()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        asked = json.loads(body) if self.path == "/graphql" else {}
        operation = re.search(r"\b(?:query|mutation)\s+(\w+)", asked.get("query", ""))
        request = operation[1] if operation else f"{self.command} {self.path}"
        fault = self.backend.fault_of(request)
        if fault == "lost":
            self._take(request, asked.get("variables") or {}, body, lost=True)
        elif fault:
            self._fail(fault)
        elif not self.path.startswith("/upload/") and not (self._has_key() and self._passes_gate()):
            self._fail("401")
        else:
            self._take(request, asked.get("variables") or {}, body)

    do_PUT = do_GET = do_POST  # noqa: N815

    def _take(self, request: str, variables: Json, body: bytes, *, lost: bool = False) -> None:
        """Keep or answer what is known, else say 400: a connection that ends in no answer is tried for minutes."""
        parts = [unquote(part) for part in self.path.strip("/").split("/")]
        answer: Json = {}
        try:
            with self.backend.lock:
                if parts[0] == "upload":
                    self.backend.upload(parts[1], parts[2], parts[3], body)
                elif parts[-1] == "file_stream":
                    self.backend.extend("/".join(parts[1:4]), json.loads(body))
                else:
                    answer = {"data": OPERATIONS[request](self.backend, variables)}
        except (KeyError, StopIteration) as error:
            self.backend.unknown.append(request)
            self._answer(400, {"errors": [{"message": f"the stand-in cannot answer {request}: {error!r}"}]})
        else:
            if lost:
                self._fail("reset")
            else:
                self._answer(200, answer)

    def _passes_gate(self) -> bool:
        gate = self.backend.gate
        return gate is None or self.headers.get(gate[0]) == gate[1]

    def _has_key(self) -> bool:
        return self.headers.get("Authorization") == "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()

    def _fail(self, fault: Fault) -> None:
        if fault.isdigit():
            messages = {"401": "user is not logged in", "429": "rate limit exceeded"}
            self._answer(int(fault), {"errors": [{"message": messages.get(fault, "out of order")}]})
            return
        if fault == "hang":
            self.backend.mended.wait()
        if fault == "refuse":  # not from this thread, which the server waits for
            threading.Thread(target=self.backend.close, daemon=True).start()
        self.close_connection = True
        reset(self.connection)

    def _answer(self, status: int, content: Json) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the tests read what was kept."""


def reset(connection: socket.socket) -> None:
    """End a connection at once, not in order."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()


@contextlib.contextmanager
def serve() -> Iterator[WandbServer]:
    """A server of its own, on a port of its own."""
    server = WandbServer()
    try:
        yield server
    finally:
        server.mended.set()
        server.close()
