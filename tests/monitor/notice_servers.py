"""A mail server and a webhook on 127.0.0.1 that keep what they are sent, and have bad days when told to."""

import base64
import contextlib
import json
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
USER, PASSWORD, PATH, KEY = "joe", "hunter2-of-the-mail", "hook-that-nobody-knows", "key-in-the-header"
SECRETS = (PASSWORD, PATH, KEY)
PATIENCE = 10.0  # seconds that a held answer is held at most


@dataclass
class Mood:
    """What a server does, and what it got.

    Attributes
    ----------
    failing : str
        ``refuse`` (the connection), ``hang up`` (in the middle of the message), ``error`` (550, or 500);
        empty where all is well.
    hold : Event or None
        The answer to a message is held until this is set, or refused if that takes too long.
    got : list
        The messages that were taken.
    arrived : Event
        Set when one was.
    logins : list of tuple of str
        User and password of each login; of the webhook, path and key.
    """

    failing: str = ""
    hold: Event | None = None
    got: list = field(default_factory=list)
    arrived: Event = field(default_factory=Event)
    logins: list[tuple[str, str]] = field(default_factory=list)

    def take(self, message) -> bool:
        """Keep a message, and tell whether all went well."""
        if self.hold and not self.hold.wait(PATIENCE):
            return False
        self.got.append(message)
        self.arrived.set()
        return True


class Picky:
    """A server that can refuse connections."""

    def verify_request(self, *_) -> bool:
        return self.mood.failing != "refuse"


class MailServer(Picky, ThreadingTCPServer):
    """SMTP with AUTH PLAIN and LOGIN."""

    allow_reuse_address = True

    def __init__(self, port: int = 0):
        super().__init__((HOST, port), Conversation)
        self.mood = Mood()

    @property
    def address(self) -> str:
        """Return its address for apprise."""
        to = "to=watch@example.org&from=blobwatch@example.org"
        return f"mailto://{USER}:{PASSWORD}@{HOST}:{self.server_address[1]}/?{to}"


class Conversation(StreamRequestHandler):
    """One client's commands."""

    def print_message(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def hear(self) -> str:
        return self.rfile.readline().decode().strip()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.print_message(f"220 {HOST} ready")
            while (line := self.hear()) and not self.answer(*line.partition(" ")[::2]):
                pass

    def answer(self, verb: str, rest: str) -> bool:
        """Answer a command; return whether it was the last."""
        failing = self.server.mood.failing
        match verb.upper():
            case "EHLO":
                self.print_message(f"250-{HOST}")
                self.print_message("250 AUTH PLAIN LOGIN")
            case "AUTH":
                self.log_in(*rest.split(" "))
            case "RCPT" if failing == "error":
                self.print_message("550 nobody of that name")
            case "HELO" | "MAIL" | "RCPT" | "RSET" | "NOOP":
                self.print_message("250 yes")
            case "DATA":
                return self.read_message()
            case "QUIT":
                self.print_message("221 bye")
                return True
            case _:
                self.print_message("502 not here")
        return False

    def log_in(self, how: str, first: str = "") -> None:
        def asked(word: str) -> str:
            self.print_message(f"334 {base64.b64encode(word.encode()).decode()}")
            return self.hear()

        if how == "PLAIN":
            _, user, password = base64.b64decode(first or asked("")).decode().split("\0")
        else:
            user, password = (base64.b64decode(one).decode() for one in (first or asked("u"), asked("p")))
        self.server.mood.logins.append((user, password))
        self.print_message("235 welcome" if (user, password) == (USER, PASSWORD) else "535 wrong")

    def read_message(self) -> bool:
        self.print_message("354 go on")
        if self.server.mood.failing == "hang up":
            self.rfile.readline()
            return True
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        taken = self.server.mood.take(message_from_bytes(b"".join(lines), policy=policy.default))
        self.print_message("250 taken" if taken else "451 too late")
        return False


class Webhook(Picky, ThreadingHTTPServer):
    """Takes JSON by POST."""

    daemon_threads = False

    def __init__(self, port: int = 0):
        super().__init__((HOST, port), Post)
        self.mood = Mood()

    @property
    def address(self) -> str:
        """Return its address for apprise."""
        return f"json://{HOST}:{self.server_address[1]}/{PATH}?+X-Key={KEY}"


class Post(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        mood = self.server.mood
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if mood.failing == "hang up":
            return
        mood.logins.append((self.path, self.headers["X-Key"]))
        taken = not mood.failing and mood.take(json.loads(content))
        self.send_response(200 if taken else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        """Say nothing."""


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
    """Return title and text of a message as a person reads them."""
    if isinstance(message, dict):
        return f"{message['title']}\n{message['message']}"
    return f"{message['Subject']}\n{message.get_body(('plain', 'html')).get_content()}"


def pictures_of(message: EmailMessage | dict) -> list[Image.Image]:
    """Return the pictures that came with a message, decoded."""
    if isinstance(message, dict):
        contents = [base64.b64decode(one["base64"]) for one in message["attachments"]]
    else:
        contents = [part.get_content() for part in message.iter_attachments()]
    pictures = [Image.open(BytesIO(content)) for content in contents]
    for picture in pictures:
        picture.load()
    return pictures
