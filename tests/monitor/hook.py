"""A webhook on this machine that keeps what is posted to it."""

import json
import os
import re
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from monitor.notice_servers import running


class Hook(ThreadingHTTPServer):
    """The webhook; ``messages`` has what came, whole; the process ``killing`` is killed and not answered."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.messages: list[str] = []
        self.killing: int | None = None

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.server_port}/hook"

    def by_number(self) -> dict[int, list[str]]:
        """Return the messages of each notice in the order in which they came."""
        found = defaultdict(list)
        for message in self.messages:
            found[int(re.search(r"Notice (\d+)\.", message)[1])].append(message)
        return dict(found)

    def handle_error(self, *_) -> None:
        """Say nothing of a sender that was killed."""


class Handler(BaseHTTPRequestHandler):
    """Takes everything."""

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) == length:
            self.server.messages.append(json.loads(body)["message"])
        if self.server.killing:
            os.kill(self.server.killing, signal.SIGKILL)
            self.server.killing = None
            return
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_) -> None:
        """Say nothing."""


@contextmanager
def webhook() -> Iterator[Hook]:
    """Run the webhook."""
    with running(Hook()) as hook:
        yield hook
