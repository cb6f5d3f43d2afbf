"""Mail server and webhooks on 127.0.0.1 that store messages and can be made to fail."""

import base64
import contextlib
import json
import os
import re
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from socketserver import BaseServer, StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread

from PIL import Image

HOST = "127.0.0.1"
USER, PASSWORD, PATH, KEY = "joe", "hunter2-of-the-mail", "secret-hook", "key-in-the-header"
SECRETS = (PASSWORD, PATH, KEY)
PATIENCE = 10.0  # seconds


@dataclass
class ServerState:
    """Behaviour of a server, and the messages it received.

    Attributes
    ----------
    failing : str
        ``refuse`` (the connection), ``hang up`` (during the message), ``error`` (550 or 500), or empty.
    hold : Event or None
        Responses wait for this event; after ``PATIENCE`` seconds the message is rejected.
    got : list
        Accepted messages.
    arrived : Event
        Set when a message was accepted.
    logins : list of tuple of str
        User and password of each login; path and key for the webhook.
    """

    failing: str = ""
    hold: Event | None = None
    got: list = field(default_factory=list)
    arrived: Event = field(default_factory=Event)
    logins: list[tuple[str, str]] = field(default_factory=list)

    def take(self, message) -> bool:
        """Store a message; return whether it was accepted."""
        if self.hold and not self.hold.wait(PATIENCE):
            return False
        self.got.append(message)
        self.arrived.set()
        return True


class RefusingServer:
    """A server that can refuse connections."""

    def verify_request(self, *_) -> bool:
        return self.control.failing != "refuse"


class MailServer(RefusingServer, ThreadingTCPServer):
    """SMTP with AUTH PLAIN and LOGIN."""

    allow_reuse_address = True

    def __init__(self, port: int = 0):
        super().__init__((HOST, port), Conversation)
        self.control = ServerState()

    @property
    def address(self) -> str:
        """Return its address for apprise."""
        to = "to=watch@example.org&from=blobwatch@example.org"
        return f"mailto://{USER}:{PASSWORD}@{HOST}:{self.server_address[1]}/?{to}"


class Conversation(StreamRequestHandler):
    """Commands of one client."""

    def send_line(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def read_line(self) -> str:
        return self.rfile.readline().decode().strip()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_line(f"220 {HOST} ready")
            while (line := self.read_line()) and not self.answer(*line.partition(" ")[::2]):
                pass

    def answer(self, verb: str, rest: str) -> bool:
        """Answer a command; return whether it was the last."""
        failing = self.server.control.failing
        match verb.upper():
            case "EHLO":
                self.send_line(f"250-{HOST}")
                self.send_line("250 AUTH PLAIN LOGIN")
            case "AUTH":
                self.log_in(*rest.split(" "))
            case "RCPT" if failing == "error":
                self.send_line("550 unknown user")
            case "HELO" | "MAIL" | "RCPT" | "RSET" | "NOOP":
                self.send_line("250 yes")
            case "DATA":
                return self.read_message()
            case "QUIT":
                self.send_line("221 bye")
                return True
            case _:
                self.send_line("502 not here")
        return False

    def log_in(self, how: str, first: str = "") -> None:
        def prompt(word: str) -> str:
            self.send_line(f"334 {base64.b64encode(word.encode()).decode()}")
            return self.read_line()

        if how == "PLAIN":
            _, user, password = base64.b64decode(first or prompt("")).decode().split("\0")
        else:
            user, password = (base64.b64decode(one).decode() for one in (first or prompt("u"), prompt("p")))
        self.server.control.logins.append((user, password))
        self.send_line("235 welcome" if (user, password) == (USER, PASSWORD) else "535 wrong")

    def read_message(self) -> bool:
        self.send_line("354 go on")
        if self.server.control.failing == "hang up":
            self.rfile.readline()
            return True
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        taken = self.server.control.take(message_from_bytes(b"".join(lines), policy=policy.default))
        self.send_line("250 taken" if taken else "451 too late")
        return False


class Webhook(RefusingServer, ThreadingHTTPServer):
    """Webhook that accepts JSON by POST."""

    daemon_threads = False

    def __init__(self, port: int = 0):
        super().__init__((HOST, port), Post)
        self.control = ServerState()
        self.killing: int | None = None  # process that is killed instead of a response

    @property
    def address(self) -> str:
        """Return its address for apprise."""
        return f"json://{HOST}:{self.server_address[1]}/{PATH}?+X-Key={KEY}"

    def by_number(self) -> dict[int, list[str]]:
        """Return the messages of each notice in the order of arrival."""
        found = defaultdict(list)
        for post in self.control.got:
            found[int(re.search(r"Notice (\d+)\.", post["message"])[1])].append(post["message"])
        return dict(found)

    def handle_error(self, *_) -> None:
        """Ignore senders that were killed."""


class Post(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        control = self.server.control
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if control.failing == "hang up" or len(content) < length:
            return
        control.logins.append((self.path, self.headers["X-Key"]))
        taken = not control.failing and control.take(json.loads(content))
        if self.server.killing:
            os.kill(self.server.killing, signal.SIGKILL)
            self.server.killing = None
            return
        self.send_response(200 if taken else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        """Disable the log."""


@contextmanager
def running(server: BaseServer) -> Iterator:
    """Run a server in the block."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def words_of(message: EmailMessage | dict) -> str:
    """Return title and text of a message."""
    if isinstance(message, dict):
        return f"{message['title']}\n{message['message']}"
    return f"{message['Subject']}\n{message.get_body(('plain', 'html')).get_content()}"


def pictures_of(message: EmailMessage | dict) -> list[Image.Image]:
    """Return the decoded pictures of a message."""
    if isinstance(message, dict):
        contents = [base64.b64decode(one["base64"]) for one in message["attachments"]]
    else:
        contents = [part.get_content() for part in message.iter_attachments()]
    pictures = [Image.open(BytesIO(content)) for content in contents]
    for picture in pictures:
        picture.load()
    return pictures
