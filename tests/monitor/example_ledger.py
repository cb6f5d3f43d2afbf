"""Example ledger with rows of each kind, its server, and a parser of its pages."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import uvicorn
from PIL import Image

from blobwatch.monitor import web
from blobwatch.monitor.drift import Reference
from blobwatch.monitor.ledger.database import Ledger, open_ledger
from blobwatch.monitor.ledger.tables import Blob, Detection, Exposure, LightCurvePoint, Model, Notice, Review
from blobwatch.monitor.model_status import Deployed
from blobwatch.monitor.statistics import STATISTICS

COUNT = 120  # exposures, three pages of them
SHA256 = "ab" * 32
CONFIRMED, CANDIDATE, REJECTED = 1, 2, 3
BEGAN = {CONFIRMED: 40, CANDIDATE: 60, REJECTED: 70}  # exposure in which it was found first
UNFIT, UNJUDGED = 5, 6
NASTY_REASON = """<img src=x onerror=alert(1)> "ж" & 'more'"""
NASTY_NAME = "<b>Żółć</b> & Ada"
NASTY_ERROR = "<script>alert('550')</script> ✉"
SCRIPT = "<script>alert('ж')</script>"
VOID = {"meta", "link", "input", "br", "img", "hr"}
REFERENCE = Reference(SHA256, 20, {name: {"mean": 0.0, "low": -1.0, "high": 1.0} for name in STATISTICS})


def name_of(number: int) -> str:
    return f"i{number:07d}q"


def png() -> bytes:
    data = BytesIO()
    Image.fromarray(np.arange(96 * 96, dtype=np.uint32).reshape(96, 96).astype(np.uint8)).save(data, "png")
    return data.getvalue()


def exposure(number: int) -> Exposure:
    judged = number not in (UNFIT, UNJUDGED)
    row = Exposure(id=number, rootname=name_of(number), path="", stamp="", md5=f"{number:032x}", model_id=1)
    row.expstart, row.filter, row.programme, row.judged_at = 58000.25 + number, "F153M", "1", "2026-01-01"
    row.outcome = "judged" if judged else "unfit" if number == UNFIT else "no stack"
    row.reason = NASTY_REASON if number == UNFIT else ""
    row.stack = " ".join(name_of(one) for one in range(max(1, number - 9), number)) if judged else ""
    if judged:
        row.probabilities = json.dumps([number / 1000, 0.875, *[0.125] * 14])
        row.noise, row.contaminants, row.score, row.found = 0.0077, 0.003, 0.5 + number / 1e3, 0
    return row


def blob(number: int, status: str, detections: int) -> list:
    first = BEGAN[number]
    measures = {"x": 100.5 * number, "y": 300.0, "radius": 9.0, "depth": 0.03, "snr": 21.0}
    measures["probability"] = 0.9876
    row = Blob(id=number, status=status, halfway=0.015, model_id=1, **measures)
    row.before_id, row.first_id, row.last_id = first - 1, first, COUNT
    pictures = {name: png() for name in ("before", "after", "difference")}
    found = [
        Detection(blob_id=number, exposure_id=first + later, model_id=1, **pictures)
        for later in range(detections)
    ]
    for one in found:
        one.x, one.y, one.radius, one.depth = row.x + 0.2 * one.exposure_id, row.y, row.radius, row.depth
        one.snr, one.probability = row.snr, row.probability
    light = [
        LightCurvePoint(blob_id=number, exposure_id=one, depth=0.03 * (one >= first), error=0.001, model_id=1)
        for one in range(10, COUNT + 1)
    ]
    light[3].error = None
    return [row, *found, *light]


def fill(url: str) -> Ledger:
    """Create a ledger with blobs of each status and exposures of each outcome."""
    ledger = open_ledger(url, create=True)
    with ledger.writing() as session:
        session.add(Model(id=1, version=7, sha256=SHA256, fingerprint="cd" * 32, threshold=0.5))
        session.flush()
        session.add_all([exposure(number) for number in range(1, COUNT + 1)])
        session.flush()
        for number, status, count in ((1, "confirmed", 2), (2, "candidate", 1), (3, "rejected", 2)):
            session.add_all(blob(number, status, count))
            session.flush()
        said = {"verdict": "rejected", "reason": SCRIPT, "who": NASTY_NAME, "at": "2026-02-03T04:05:06+00:00"}
        session.add(Review(blob_id=REJECTED, model_id=1, labelled=True, **said))
        told = {"subject": "blob 1", "channel": "0" * 64, "shown": "mailto://***", "error": NASTY_ERROR}
        session.add(Notice(blob_id=CONFIRMED, exposure_id=41, state="pending", model_id=1, **told))
    return ledger


@contextmanager
def serving(
    ledger: Ledger, folder: Path, reference: Reference | None = None, hosts=("127.0.0.1",), deployed=None
) -> Iterator[str]:
    """Serve the pages of a ledger in a thread, with labels and overrules in ``folder``; yield the address."""
    labels, about = labels_in(folder / "labels"), (reference, list(hosts), folder / "overrules")
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as listening:
        patch.setattr(web, "find_deployed", lambda root: (deployed or audited)())
        app = web.create_app(ledger, folder, labels, *about)
        config = uvicorn.Config(app, log_level="critical", server_header=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Page(HTMLParser):
    """Content of a page; checks that tags balance and ids are unique."""

    html: str
    open: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)  # of src, href, action
    links: list[str] = field(default_factory=list)  # of <a>
    ids: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str | None]] = field(default_factory=list)
    words: str = ""

    def __post_init__(self):
        super().__init__()
        self.feed(self.html)
        self.close()
        assert self.html.startswith("<!DOCTYPE html>")
        assert self.open == [], f"not closed: {self.open}"
        assert len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        assert len(dict(attributes)) == len(attributes), f"<{tag}> has an attribute twice"
        for name, value in attributes:
            if name in ("src", "href", "action"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)
            if (tag, name) == ("a", "href"):
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag, f"</{tag}> ends another"

    def handle_data(self, data):
        self.words += data


def audited() -> Deployed:
    """Return an example result of an audit."""
    links = ({"link": "run", "status": "mismatch", "note": f"{SCRIPT} differs"},)
    page = "<!DOCTYPE html><html><head><title>audit</title></head><body>all of it</body></html>"
    return Deployed(None, "mismatch", "2026-02-03T04:05:06+00:00", "no model", links, page)


def labels_in(folder: Path) -> Path:
    """Create a folder with an empty table of labels."""
    folder.mkdir()
    (folder / "labels.csv").write_text("rootname,x,y,radius,label,who,when\n", encoding="utf-8")
    return folder
