"""Reviews over a real server: authentication, origin, and unchanged state otherwise."""

import hashlib
import http.client
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from monitor.example_ledger import BEGAN, CANDIDATE, fill, name_of, serving
from sqlalchemy import func, select

from blobwatch.cli.monitor import reviewer
from blobwatch.errors import BlobwatchError
from blobwatch.monitor import web
from blobwatch.monitor.ledger.database import Ledger, open_ledger
from blobwatch.monitor.ledger.reviewers import add_reviewer, find_reviewer, remove_reviewer
from blobwatch.monitor.ledger.tables import Blob, Review, Reviewer, Table
from blobwatch.monitor.overrules import MAX_REASON

GOOD = {"verdict": "confirmed", "reason": "round, dark, and it stays"}
NAME = "Ada Łovelace"


@dataclass
class Site:
    """A server with one reviewer, its ledger and labels."""

    address: str
    ledger: Ledger
    labels: Path
    token: str

    def send(self, path: str, data=GOOD, bearer="", cookie="", **headers) -> requests.Response:
        """Send a form as a page of this server does, unless headers are passed."""
        sent = {"Origin": self.address} | {key.capitalize(): value for key, value in headers.items()}
        if bearer:
            sent |= {"Authorization": f"Bearer {bearer}"}
        if cookie:
            sent |= {"Cookie": f"{web.COOKIE}={cookie}"}
        sent = {key: value for key, value in sent.items() if value is not None}
        return requests.post(self.address + path, data, headers=sent, timeout=10, allow_redirects=False)

    def review(self, number: int = CANDIDATE, data=GOOD, **how) -> requests.Response:
        return self.send(f"/blob/{number}/review", data, **how)

    def state(self) -> str:
        """Return a hash of all rows of the ledger."""
        with self.ledger.engine.connect() as connection:
            rows = [connection.execute(select(table)).all() for table in Table.metadata.sorted_tables]
        return hashlib.sha256(repr(rows).encode()).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("reviews") / "ledger.db"
    fill(f"sqlite:///{path}").engine.dispose()
    return path


@pytest.fixture
def own(made, tmp_path) -> Ledger:
    return open_ledger(f"sqlite:///{shutil.copy(made, tmp_path / 'ledger.db')}")


@pytest.fixture
def site(own, tmp_path):
    with serving(own, tmp_path) as address:
        yield Site(address, own, tmp_path / "labels", add_reviewer(own, NAME))


@pytest.mark.parametrize("size", [None, "", "-1", "1e3", "100001", "9" * 30])
def test_form_without_valid_length_is_rejected(site, size):
    connection = http.client.HTTPConnection(site.address.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/sign-in")
    connection.putheader("Origin", site.address)
    if size is not None:
        connection.putheader("Content-Length", size)
    connection.endheaders()
    assert connection.getresponse().status in (400, 413)
    connection.close()


def test_review_requires_token(site):
    before = site.state()
    assert site.review().status_code == 401
    assert site.review(cookie="x").status_code == 401
    assert site.review(bearer="x").status_code == 401
    assert site.review(bearer=site.token.swapcase()).status_code == 401
    assert site.state() == before


def test_review_is_stored_and_becomes_label(site):
    answer = site.review(cookie=site.token)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/blob/{CANDIDATE}")
    with site.ledger.reading() as session:
        blob = session.get(Blob, CANDIDATE)
        (said,) = blob.reviews
        assert (blob.status, said.verdict, said.reason) == ("confirmed", *GOOD.values())
        assert said.who == NAME
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", said.at)
        assert said.labelled
        at = said.at
    _, line = (site.labels / "labels.csv").read_text(encoding="utf-8").splitlines()
    assert line == f"{name_of(BEGAN[CANDIDATE])},213.0,300.0,9.0,blob,{NAME},{at}"
    shown = requests.get(f"{site.address}/blob/{CANDIDATE}", timeout=10).text
    assert NAME in shown
    assert GOOD["reason"] in shown


def test_program_with_token_needs_no_origin(site):
    assert site.review(bearer=site.token, origin=None).status_code == 303


@pytest.mark.parametrize("proxied", [{}, {"x-forwarded-proto": "https"}])
def test_cookie_is_httponly_samesite_and_secure_behind_https_proxy(site, proxied):
    answer = site.send("/sign-in", {"token": f" {site.token}\n", "back": "2"}, **proxied)
    assert (answer.status_code, answer.headers["location"]) == (303, "/blob/2")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{web.COOKIE}={site.token};")
    assert {"httponly", "samesite=strict"} <= set(cookie.lower().split("; "))
    assert ("; secure" in cookie.lower()) == bool(proxied)


def test_wrong_token_is_rejected(site):
    answer = site.send("/sign-in", {"token": "wrong"})
    assert answer.status_code == 401
    assert "No reviewer has this token" in answer.text
    assert "set-cookie" not in answer.headers


def test_sign_in_redirects_only_to_this_server(site):
    assert site.send("/sign-in", {"token": site.token}).headers["location"] == "/"
    for back in ("//elsewhere.example", "https://elsewhere.example", "-1"):
        assert site.send("/sign-in", {"token": site.token, "back": back}).status_code == 422


def test_sign_out_deletes_cookie_and_requires_post(site):
    answer = site.send("/sign-out", {}, cookie=site.token)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert f'{web.COOKIE}=""' in answer.headers["set-cookie"]
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    assert requests.get(f"{site.address}/sign-out", timeout=10).status_code == 405


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "",
        "https://elsewhere.example",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://[",
        "127.0.0.1:{port}",
        "http://127.0.0.1:{port}.elsewhere.example",
        "http://elsewhere.example/127.0.0.1:{port}",
        "http://u@127.0.0.1:{port}",
    ],
)
def test_change_from_other_origin_is_rejected(site, origin):
    origin = origin and origin.format(port=site.address.rpartition(":")[2])
    before = site.state()
    for answer in (
        site.review(cookie=site.token, origin=origin),
        site.send("/sign-in", {"token": site.token}, origin=origin),
        site.send("/sign-out", {}, cookie=site.token, origin=origin),
    ):
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert site.state() == before


@pytest.mark.parametrize(
    "host", ["elsewhere.example", "elsewhere.example:{port}", "127.0.0.1.elsewhere.example"]
)
def test_unknown_host_name_is_rejected(site, host):
    """DNS rebinding: another site's name that resolves to this machine."""
    port = site.address.rpartition(":")[2]
    host = host.format(port=port)
    before = site.state()
    assert requests.get(site.address, headers={"Host": host}, timeout=10).status_code == 400
    answer = site.review(cookie=site.token, host=host, origin=f"http://{host}")
    assert answer.status_code == 400
    assert site.state() == before


def test_get_requests_change_nothing(site):
    before, labels = site.state(), (site.labels / "labels.csv").read_bytes()
    paths = ["/", "/blob/1", "/exposures", "/drift", "/model", "/audit", "/sign-in", "/blobs.csv"]
    paths += ["/blob/2/review?verdict=confirmed&reason=so", f"/sign-in?token={site.token}"]
    for path in paths:
        headers = {"Authorization": f"Bearer {site.token}", "Origin": "https://elsewhere.example"}
        answer = requests.get(site.address + path, headers=headers, timeout=10)
        assert "access-control-allow-origin" not in answer.headers
        requests.head(site.address + path, headers=headers, timeout=10)
    assert site.state() == before
    assert (site.labels / "labels.csv").read_bytes() == labels


def test_removed_reviewer_cannot_review(site):
    assert site.review(bearer=site.token).status_code == 303
    assert remove_reviewer(site.ledger, NAME) == 1
    before = site.state()
    assert site.review(bearer=site.token).status_code == 401
    assert site.review(cookie=site.token).status_code == 401
    assert site.state() == before


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"verdict": "confirmed"}, 422),
        ({"reason": "so"}, 422),
        ({"verdict": "confirmed", "reason": "x" * (MAX_REASON + 1)}, 400),
        ({"verdict": "", "reason": "so"}, 422),
        ({"verdict": "<b>", "reason": "so"}, 400),
    ],
)
def test_incomplete_review_is_rejected(site, data, status):
    before = site.state()
    answer = site.review(data=data, bearer=site.token)
    assert answer.status_code == status
    assert "<b>" not in answer.text
    assert site.state() == before


def test_longest_reason_is_stored(site):
    reason = "ж" * MAX_REASON
    assert site.review(data={"verdict": "rejected", "reason": reason}, bearer=site.token).status_code == 303
    with site.ledger.reading() as session:
        assert session.scalar(select(Review.reason).filter_by(blob_id=CANDIDATE)) == reason


def test_review_of_unknown_blob_is_404(site):
    answer = site.review(99, bearer=site.token)
    assert answer.status_code == 404
    assert "the ledger has no blob 99" in answer.text


def test_review_without_labels_folder_is_rejected(site):
    shutil.rmtree(site.labels)
    before = site.state()
    answer = site.review(bearer=site.token)
    assert answer.status_code == 400
    assert f"{site.labels}: not a directory" in answer.text
    assert site.state() == before
    assert "Sign in" not in requests.get(site.address, timeout=10).text


def test_review_by_local_host_name_is_accepted(own, tmp_path):
    """Also by its IPv6 address, which contains colons."""
    token = add_reviewer(own, NAME)
    with serving(own, tmp_path, hosts=web.allowed_hosts("::1", [])) as address:
        port = address.rpartition(":")[2]
        for host in (f"localhost:{port}", f"[::1]:{port}"):
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
            headers = {"Host": host, "Origin": f"http://{host}", "Cookie": f"{web.COOKIE}={token}"}
            headers |= {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", "/blob/2/review", "verdict=rejected&reason=so", headers)
            assert connection.getresponse().status == 303, host
            connection.close()


def test_token_is_stored_as_hash_and_shown_once(own, capsys):
    reviewer(NAME, False, str(own.engine.url))
    shown = capsys.readouterr()
    token = shown.out.strip()
    assert token not in shown.err
    assert find_reviewer(own, token) == NAME
    with own.reading() as session:
        (row,) = session.scalars(select(Reviewer)).all()
    assert token not in json.dumps([row.name, row.token_sha256, row.since])
    reviewer(NAME, True, str(own.engine.url))
    assert find_reviewer(own, token) == ""


def test_removal_deletes_all_tokens_of_reviewer(own):
    tokens = [add_reviewer(own, NAME) for _ in range(3)]
    other = add_reviewer(own, "Another")
    assert len(set(tokens)) == 3
    assert remove_reviewer(own, f" {NAME} ") == 3
    assert [find_reviewer(own, one) for one in (*tokens, other)] == ["", "", "", "Another"]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00b", "a\udcffb", "x" * 201])
def test_invalid_reviewer_name_is_rejected(own, name):
    for change in (add_reviewer, remove_reviewer):
        with pytest.raises(BlobwatchError, match="the reviewer's name must have"):
            change(own, name)
    with own.reading() as session:
        assert session.scalar(select(func.count()).select_from(Reviewer)) == 0


def test_unknown_reviewer_cannot_be_removed(own):
    with pytest.raises(BlobwatchError, match="reviewer Ada is unknown"):
        remove_reviewer(own, "Ada")
