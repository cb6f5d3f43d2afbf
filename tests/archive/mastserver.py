"""A small MAST on 127.0.0.1, with its cloud copy: the same addresses, answers of the same shape, bad days.

What it answers is written by hand after the columns that MAST documents; the exposures are made up.
"""

import contextlib
import hashlib
import io
import json
import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from astropy.io import fits

SIZE = 300_000  # bytes of an exposure, about: some pieces of 64 kB
WORDS = ("dataproduct_type", "obs_collection", "instrument_name", "filters", "target_name", "obs_id")
WORDS += ("proposal_id", "project", "dataRights", "dataURL", "obsid")
NUMBERS = ("calib_level", "t_min", "t_max", "t_exptime", "t_obs_release")
PRODUCT_WORDS = ("obsID", "obs_collection", "obs_id", "description", "type", "dataURI", "productType")
PRODUCT_WORDS += ("productGroupDescription", "productSubGroupDescription", "project", "productFilename")
PRODUCT_WORDS += ("parent_obsid", "dataRights", "filters")


def exposure(rootname: str, expstart: float, filter: str = "F153M", programme: int = 14389) -> bytes:
    """Return a whole FITS file with the keywords of an exposure; small, with checksums."""
    rng = np.random.default_rng(int.from_bytes(rootname.encode()))
    header = fits.Header({"ROOTNAME": rootname, "EXPSTART": expstart, "FILTER": filter})
    header["PROPOSID"] = programme
    data = rng.integers(0, 2**15, SIZE // 2, dtype=np.int16).reshape(300, -1)
    buffer = io.BytesIO()
    image = fits.ImageHDU(data, name="SCI")
    fits.HDUList([fits.PrimaryHDU(header=header), image]).writeto(buffer, checksum=True)
    return buffer.getvalue()


@dataclass
class Held:
    """One exposure that the archive holds."""

    rootname: str
    expstart: float
    filter: str = "F153M"
    programme: int = 14389
    target: str = "DARK-EARTH-CALIB"
    association: str = ""  # whose row stands for it
    rights: str | None = "PUBLIC"
    released: float = 57500.0
    content: bytes = b""
    product: str = "flt"
    listed_size: int | None = -1  # -1: the true one

    def __post_init__(self):
        self.content = self.content or exposure(self.rootname, self.expstart, self.filter, self.programme)
        self.name = f"{self.rootname}_{self.product}.fits"
        self.uri = f"mast:HST/product/{self.name}"
        self.key = f"/stpubdata/hst/public/{self.rootname[:4]}/{self.rootname}/{self.name}"


@dataclass
class Reference:
    """One calibration reference file, served as by CRDS."""

    name: str
    content: bytes

    @property
    def key(self) -> str:
        return f"/unchecked_get/references/hst/{self.name}"


@dataclass
class Asked:
    """What one request for a file asked for."""

    name: str
    range: str
    headers: dict


@dataclass
class MastServer:
    """The archive.

    ``plan[name]`` holds what happens at the next requests for a file (or for ``invoke``), one word each;
    after them all is well. ``drop N``: N bytes, then the line is dead. ``hold N``: N bytes, then nothing
    until `release`. ``503``, or any status. ``page``: a page in HTML with status 200. ``all``: Range is
    ignored. ``chunked``: no length is said. ``long``: some bytes more than listed. ``shift``: another part
    than asked for. ``hang up``: the line dies before any answer. ``silent``: no answer until `release`.
    """

    holds: list[Held]
    references: list[Reference] = field(default_factory=list)
    plan: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    asked: list[Asked] = field(default_factory=list)
    questions: list[dict] = field(default_factory=list)
    tags: str = "strong"  # or weak: then with the time of the last change; or none
    multipart: bool = False
    holding: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def __enter__(self):
        server = self

        class Handler(Answers):
            archive = server

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.release.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def ranges(self, name: str) -> list[str]:
        """Return what the requests for a file asked for, in their order."""
        return [one.range for one in self.asked if one.name == name]

    def next(self, name: str) -> str:
        return self.plan[name].pop(0) if self.plan[name] else ""

    def observations(self) -> list[dict]:
        """Return MAST's rows: an association stands for its members."""
        rows = {}
        for one in self.holds:
            obs_id = one.association or one.rootname
            rows.setdefault(obs_id, one)
        return [self.row(obs_id, one) for obs_id, one in rows.items()]

    def row(self, obs_id: str, one: Held) -> dict:
        row = {"dataproduct_type": "image", "obs_collection": "HST", "instrument_name": "WFC3/IR"}
        row |= {"filters": one.filter, "target_name": one.target, "obs_id": obs_id, "project": "HST"}
        row |= {"proposal_id": str(one.programme), "calib_level": 3, "t_min": one.expstart}
        row |= {"t_max": one.expstart + 0.01, "t_exptime": 802.9, "t_obs_release": one.released}
        row |= {"dataURL": None, "obsid": self.obsid(obs_id)}
        return row | ({"dataRights": one.rights} if one.rights else {})

    @staticmethod
    def obsid(obs_id: str) -> int:
        return 2_000_000_000 + int.from_bytes(hashlib.md5(obs_id.encode()).digest()[:3])

    def products(self, obsids: list[str]) -> list[dict]:
        """Return MAST's rows of the files of observations, also those that are none of ours."""
        rows = []
        for one in self.holds:
            obs_id = one.association or one.rootname
            if str(self.obsid(obs_id)) not in obsids:
                continue
            size = len(one.content) if one.listed_size == -1 else one.listed_size
            row = {"obs_collection": "HST", "obs_id": one.rootname, "type": "S", "project": "HST"}
            row |= {"obsID": self.obsid(one.rootname), "parent_obsid": self.obsid(obs_id)}
            row |= {"productType": "SCIENCE", "productGroupDescription": None, "size": size}
            row |= {"dataRights": one.rights} if one.rights else {}
            rows.append(row | named(one.uri))
            rows.append(row | named(one.uri))  # MAST often lists a file more than once
            rows.append(row | named(one.uri.replace(one.product, "spt")))
            if one.association:
                rows.append(row | named(f"mast:HST/product/{one.association}_drz.fits"))
            high = f"mast:HST/product/hst_{one.programme}_wfc3_ir_f153m_{one.rootname}_{one.product}.fits"
            rows.append(row | named(high))
        return rows


def named(uri: str) -> dict:
    name = uri.rpartition("/")[2]
    kind = name.rpartition("_")[2].removesuffix(".fits").upper()
    return {"dataURI": uri, "productFilename": name, "productSubGroupDescription": kind}


class Answers(BaseHTTPRequestHandler):
    """The addresses that astroquery, requests and boto3 ask."""

    archive: MastServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(OSError):  # who was killed does not say good-bye
            super().handle()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path.endswith("/columnsconfig"):
            return self.send(json.dumps(columns()).encode(), kind="application/json")
        how = self.archive.next("invoke")
        if how.isdecimal():
            return self.send(b"down", status=int(how), kind="text/plain")
        if how == "page":
            return self.send(b"<html>down for maintenance</html>", kind="text/html")
        if how == "silent":
            self.archive.release.wait(60)
        if how in ("hang up", "silent"):
            return self.die()
        question = json.loads(unquote(body.removeprefix("request=")))
        self.archive.questions.append(question)
        self.send(json.dumps(self.answer(question, how)).encode(), kind="application/json")

    def answer(self, question: dict, how: str) -> dict:
        if how == "error":
            return {"status": "ERROR", "msg": "no such service"}
        if how == "odd":
            return {"status": "COMPLETE", "rows": []}
        if question["service"] == "Mast.Caom.Products":
            rows = self.archive.products(question["params"]["obsid"].split(","))
            fields = [*((name, "string") for name in PRODUCT_WORDS), ("size", "int")]
        else:
            rows = [row for row in self.archive.observations() if chosen(row, question["params"]["filters"])]
            fields = [*((name, "string") for name in WORDS), *((name, "float") for name in NUMBERS)]
        known = set().union(*rows) if rows else {name for name, _ in fields}
        fields = [{"name": name, "type": kind} for name, kind in fields if name in known]
        paging = {"page": 1, "pageSize": 50000, "pagesFiltered": 1, "rows": len(rows), "rowsTotal": len(rows)}
        return {"status": "COMPLETE", "msg": "", "data": rows, "fields": fields, "paging": paging}

    def do_GET(self):
        asked = urlsplit(self.path)
        uri = parse_qs(asked.query).get("uri", [""])[0]
        by_place = {one.uri: one for one in self.archive.holds}
        by_place |= {one.key: one for one in [*self.archive.holds, *self.archive.references]}
        held = by_place.get(uri if asked.path == "/api/v0.1/Download/file" else asked.path)
        if held is None:
            return self.send(b"<Error><Code>NoSuchKey</Code></Error>", status=404, kind="application/xml")
        told = dict(self.headers.items())
        self.archive.asked.append(Asked(held.name, self.headers.get("Range", ""), told))
        self.send_file(held, self.archive.next(held.name))

    def send_file(self, held: Held | Reference, how: str) -> None:
        word, _, number = how.partition(" ")
        if word.isdecimal():
            return self.send(b"<Error><Code>Trouble</Code></Error>", status=int(word), kind="application/xml")
        if how == "hang up":
            return self.die()
        if how == "page":
            return self.send(b"<!DOCTYPE html><html>Please come back later</html>", kind="text/html")
        content = held.content + (b" " * 100 if word == "long" else b"")
        tag = '"' + hashlib.md5(content).hexdigest() + ("-2" if self.archive.multipart else "") + '"'
        first = int(re.sub(r"\D", "", self.headers.get("Range", "")) or 0)
        if self.headers.get("If-Match", tag) != tag:
            return self.send(b"<Error><Code>PreconditionFailed</Code></Error>", 412, "application/xml")
        if word == "all" or self.headers.get("If-Range", tag) != tag:
            first = 0
        if first >= len(content):
            return self.send(b"", status=416, kind="text/plain")
        first += 7 if word == "shift" else 0
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if self.archive.tags != "none":
            self.send_header("ETag", tag if self.archive.tags == "strong" else f"W/{tag}")
        if self.archive.tags == "weak":
            self.send_header("Last-Modified", "Wed, 13 Jan 2016 06:00:00 GMT")
        self.send_header("Content-Type", "application/fits")
        if word == "chunked":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : first + int(number)] if number else content[first:])
        if word == "hold":
            self.archive.holding.set()
            self.archive.release.wait(60)
        if number:
            self.die()

    def send(self, body: bytes, status: int = 200, kind: str = "text/html") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def die(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(SHUT_RDWR)


def columns() -> dict:
    """Return the description of MAST's columns, as far as astroquery looks at it."""
    words = {name: {"text": name, "vot.datatype": "char"} for name in WORDS}
    words["filters"]["separator"] = ";"
    return words | {name: {"text": name, "vot.datatype": "double"} for name in NUMBERS}


def chosen(row: dict, filters: list[dict]) -> bool:
    """Tell whether MAST would choose an observation; it does not care for capitals."""
    for one in filters:
        value = row[one["paramName"]]
        if isinstance(one["values"], list) and one["values"] and isinstance(one["values"][0], dict):
            if not one["values"][0]["min"] <= value <= one["values"][0]["max"]:
                return False
            continue
        like = [re.escape(word) for word in one["values"]]
        like += [re.escape(one["freeText"]).replace("%", ".*")] if one.get("freeText") else []
        if not any(re.fullmatch(word, str(value), re.IGNORECASE) for word in like):
            return False
    return True
