"""A thousand malformed requests: the server rejects them and keeps running."""

import errno
import random
import re
import socket
from urllib.parse import urlsplit

import pytest
import requests
from monitor.example_ledger import REFERENCE, fill, serving

from blobwatch.monitor.ledger.reviewers import add_reviewer

COUNT, SEED = 1000, 6
NUMBERS = ["0", "-1", "1.5", "1e9", "٣", "0x10", "1_000", str(2**31), str(2**63), str(-(2**63)), "9" * 5000]
NUMBERS += [
    *["NaN", "inf", "%00", "1%00", "%", "%zz", "%ff%fe", "%ed%a0%80", "..", "%2e%2e%2f", "<b>", "'--"],
    " ",
]
PATHS = [
    "/",
    "//",
    "/blob/",
    "/blob/{n}",
    "/blob/{n}/review",
    "/exposures?page={n}",
    "/exposures?{n}={n}&page=1",
]
PATHS += [
    "/drift/{n}",
    "/model?{n}",
    "/audit/../{n}",
    "/sign-in?back={n}",
    "/sign-out",
    "/blobs.{n}",
    "/style.css/{n}",
]
PATHS += [
    "/{n}",
    "/blobs.json?{n}",
    "/templates/style.css",
    "/../../etc/passwd",
    "*",
    "http://elsewhere.example/",
]
PATHS += [""]
METHODS = [
    *["GET"] * 6,
    *["POST"] * 8,
    *["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "Ж"],
]
KINDS = [
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=utf-7",
    "text/plain",
]
KINDS += ["application/json", "", ";;;", "multipart/form-data", "multipart/form-data; boundary=", "\xff\xfe"]
MULTIPART = [
    f"multipart/form-data; boundary=b; charset={one}" for one in ("undefined", "idna", "utf-16", "utf-7", "x")
]
NASTY = [b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"%", b"%00", b"%u0000", b"&" * 50, b"=", b"a" * 70_000]
NASTY += [b"+2AA-"]
BODIES = [b"", *b"verdict=confirmed verdict=confirmed&reason=".split()]
BODIES += [b"reason=%ff&verdict=confirmed&verdict=rejected", b"verdict[]=1&reason[x]=2"]
BODIES += [b'{"verdict": "confirmed"}', b"[" * 3000, b"a=1&" * 1500, b"token=%00&back=%00"]
PART = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'


UNENDING = re.compile(rb"Content-Length: \d{20}|Transfer-Encoding|^CONNECT|^\S+ \S+ HTTP/9")


def form(rng: random.Random) -> bytes:
    """Return a multipart form, mostly broken."""
    names = [b"verdict", b"reason", b"token", b"back", b"", b"\xff", b'a"b', b"xn--\xff"]
    files = [b"", b"", b'; filename="x.txt"', b'; filename="\xff\x00"']
    parts = [
        PART % (rng.choice(names), rng.choice(files), rng.choice([b"confirmed", *NASTY]))
        for _ in range(rng.randrange(4))
    ]
    whole = b"".join(parts) + rng.choice([b"--b--\r\n", b"--b", b"", b"--c--"])
    return whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.3 else whole


def nearly_right(rng: random.Random, host: str, token: str) -> bytes:
    """Return a review or a sign-in whose form may be malformed."""
    path = rng.choice(["/blob/2/review", "/blob/3/review", "/sign-in", "/sign-out"])
    shown = rng.choice([token, token, "", "x"])
    right = [b"verdict=rejected&reason=so", b"token=" + shown.encode()]
    body = rng.choice(right * 4 + BODIES)
    body += b"&reason=" + rng.choice(NASTY) if rng.random() < 0.5 else b""
    headers = [
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        f"Origin: http://{host}",
        f"Content-Type: {KINDS[0]}",
    ]
    headers += [
        f"Cookie: blobwatch_token={shown}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "",
        "",
    ]
    return "\r\n".join(headers).encode() + body


def request(rng: random.Random, host: str, token: str) -> bytes:
    """Return a request."""
    if rng.random() < 0.2:
        return nearly_right(rng, host, token)
    path = rng.choice(PATHS).format(n=rng.choice(NUMBERS)).encode()
    if rng.random() < 0.15:
        path += rng.choice(NASTY[1:8]) + b"?" + b"&".join([b"a=b"] * rng.choice([1, 500]))
    kind = rng.choice(MULTIPART if rng.random() < 0.5 else KINDS)
    body = form(rng) if "multipart" in kind and rng.random() < 0.9 else rng.choice(BODIES)
    body += rng.choice(NASTY) if rng.random() < 0.2 else b""
    length = rng.choice([len(body)] * 12 + [-1, 0, "x", 2**70])
    headers = [b"Host: " + rng.choice([host] * 12 + ["", "[", "[::1", "elsewhere.example", "a:b:c"]).encode()]
    headers += [f"Content-Type: {kind}".encode("latin-1"), f"Content-Length: {length}".encode()]
    origins = [f"http://{host}"] * 6 + ["null", "http://[", "://", "http://\xff", "[]"]
    headers += [b"Origin: " + rng.choice(origins).encode("latin-1")] if rng.random() < 0.8 else []
    shown = rng.choice([token, token, "x", "", "\xff\xfe", "a" * 5000, "%00", '"\\'])
    headers += (
        [
            b"Cookie: "
            + rng.choice(["blobwatch_token=", "blobwatch_token==;", ";;=;", "\x80"]).encode("latin-1")
            + shown.encode("latin-1")
        ]
        if rng.random() < 0.6
        else []
    )
    headers += [
        f"Authorization: {rng.choice(['Bearer', 'bearer ', 'Basic', ''])} {shown}".encode("latin-1")
    ] * (rng.random() < 0.5)
    extra = [
        b"X: " + b"y" * 100_000,
        b"\x00: \x00",
        b"no colon",
        b"Transfer-Encoding: chunked",
        b"Range: bytes=9-1",
    ]
    extra += [
        b"Expect: 100-continue",
        b"Upgrade: websocket\r\nConnection: upgrade",
        b"Accept: " + b",".join([b"a"] * 999),
    ]
    extra += [b"If-None-Match: \xff", b"If-Modified-Since: yesterday", b"X-Forwarded-For: \xff"]
    headers += [rng.choice(extra)] if rng.random() < 0.2 else []
    first = rng.choice(METHODS).encode() + b" " + path + b" " + rng.choice([b"HTTP/1.1"] * 9 + [b"HTTP/9.9"])
    return b"\r\n".join([first, b"Connection: close", *headers, b"", body])


def answer_to(request: bytes, host: str) -> bytes:
    """Send a request; return the first line of the response, if any."""
    name, port = host.split(":")
    with socket.create_connection((name, int(port)), timeout=5) as connection:
        try:
            connection.sendall(request)
            if UNENDING.search(request):
                connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
            while connection.recv(65536):
                pass
        except (ConnectionResetError, BrokenPipeError):
            return b""
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # the server closed the connection before `shutdown`
                raise
            return b""
    return answer.partition(b"\r\n")[0]


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict:
    """First line of each response with its request, and a page requested afterwards."""
    work = tmp_path_factory.mktemp("malformed")
    ledger = fill(f"sqlite:///{work}/ledger.db")
    token, rng = add_reviewer(ledger, "Ada"), random.Random(SEED)
    with serving(ledger, work, REFERENCE) as address:
        host = urlsplit(address).netloc
        requested = [request(rng, host, token) for _ in range(COUNT)]
        found = [(answer_to(one, host), one) for one in requested]
        after = requests.get(f"{address}/blob/1", timeout=10)
    return {"found": found, "after": after}


def test_malformed_requests_cause_no_server_error(answers):
    faults = [(line, one[:300]) for line, one in answers["found"] if line[9:10] == b"5"]
    assert faults == []


def test_malformed_requests_reach_each_status(answers):
    """Otherwise they would only test the HTTP parser."""
    codes = {line[9:12] for line, _ in answers["found"]}
    assert {b"200", b"303", b"400", b"401", b"403", b"404", b"405", b"422"} <= codes


def test_server_responds_after_malformed_requests(answers):
    assert answers["after"].status_code == 200
    assert "Blob 1" in answers["after"].text
