"""A local server in place of MAST, its cloud copy and CRDS, with planned failures.

It has the addresses and the documented columns of MAST; the exposures are simulated.
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

SIZE = 300_000  # approximate bytes of an exposure: several chunks of 64 kB
WORDS = ("dataproduct_type", "obs_collection", "instrument_name", "filters", "target_name", "obs_id")
WORDS += ("proposal_id", "project", "dataRights", "dataURL", "obsid")
NUMBERS = ("calib_level", "t_min", "t_max", "t_exptime", "t_obs_release")
PRODUCT_WORDS = ("obsID", "obs_collection", "obs_id", "description", "type", "dataURI", "productType")
PRODUCT_WORDS += ("productGroupDescription", "productSubGroupDescription", "project", "productFilename")
PRODUCT_WORDS += ("parent_obsid", "dataRights", "filters")


def make_exposure(rootname: str, expstart: float, filter: str = "F153M", programme: int = 14389) -> bytes:
    """Return a small FITS file with the keywords of an exposure and with checksums."""
    rng = np.random.default_rng(int.from_bytes(rootname.encode()))
    header = fits.Header({"ROOTNAME": rootname, "EXPSTART": expstart, "FILTER": filter})
    header["PROPOSID"] = programme
    data = rng.integers(0, 2**15, SIZE // 2, dtype=np.int16).reshape(300, -1)
    buffer = io.BytesIO()
    image = fits.ImageHDU(data, name="SCI")
    fits.HDUList([fits.PrimaryHDU(header=header), image]).writeto(buffer, checksum=True)
    return buffer.getvalue()


@dataclass
class ArchiveFile:
    """One exposure in the archive."""

    rootname: str
    expstart: float
    filter: str = "F153M"
    programme: int = 14389
    target: str = "DARK-EARTH-CALIB"
    association: str = ""  # listed instead of the exposure
    rights: str | None = "PUBLIC"
    released: float = 57500.0
    content: bytes = b""
    product: str = "flt"
    listed_size: int | None = -1  # -1: the actual size

    def __post_init__(self):
        self.content = self.content or make_exposure(
            self.rootname, self.expstart, self.filter, self.programme
        )
        self.name = f"{self.rootname}_{self.product}.fits"
        self.uri = f"mast:HST/product/{self.name}"
        self.key = f"/stpubdata/hst/public/{self.rootname[:4]}/{self.rootname}/{self.name}"


@dataclass
class Reference:
    """One calibration reference file of CRDS."""

    name: str
    content: bytes

    @property
    def key(self) -> str:
        return f"/unchecked_get/references/hst/{self.name}"


@dataclass
class FileRequest:
    """One request for a file."""

    name: str
    range: str
    headers: dict


@dataclass
class MastServer:
    """The archive.

    ``plan[name]`` lists failures of the next requests for a file (or for ``invoke``). ``drop N``: N bytes,
    then the connection breaks off. ``hold N``: N bytes, then nothing until `release`. ``503``, or any
    status. ``page``: an HTML page with status 200. ``all``: Range is ignored. ``chunked``: no length is
    given. ``shift``: another range than requested. ``hang up``: the
    connection breaks off without a response. ``silent``: no response until `release`.
    """

    files: list[ArchiveFile]
    references: list[Reference] = field(default_factory=list)
    plan: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    requests: list[FileRequest] = field(default_factory=list)
    queries: list[dict] = field(default_factory=list)
    tags: str = "strong"  # or weak: then with a modification time; or none
    multipart: bool = False
    stalled: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def __enter__(self):
        server = self

        class Handler(ArchiveHandler):
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
        """Return the Range headers of the requests for a file."""
        return [one.range for one in self.requests if one.name == name]

    def next_failure(self, name: str) -> str:
        return self.plan[name].pop(0) if self.plan[name] else ""

    def observations(self) -> list[dict]:
        """Return the rows of observations; an association replaces its members."""
        rows = {}
        for one in self.files:
            obs_id = one.association or one.rootname
            rows.setdefault(obs_id, one)
        return [self.row(obs_id, one) for obs_id, one in rows.items()]

    def row(self, obs_id: str, one: ArchiveFile) -> dict:
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
        """Return the rows of the files of observations, with files that do not match the query."""
        rows = []
        for one in self.files:
            obs_id = one.association or one.rootname
            if str(self.obsid(obs_id)) not in obsids:
                continue
            size = len(one.content) if one.listed_size == -1 else one.listed_size
            row = {"obs_collection": "HST", "obs_id": one.rootname, "type": "S", "project": "HST"}
            row |= {"obsID": self.obsid(one.rootname), "parent_obsid": self.obsid(obs_id)}
            row |= {"productType": "SCIENCE", "productGroupDescription": None, "size": size}
            row |= {"dataRights": one.rights} if one.rights else {}
            rows.append(row | name_columns(one.uri))
            rows.append(row | name_columns(one.uri))  # MAST often lists a file twice
            rows.append(row | name_columns(one.uri.replace(one.product, "spt")))
            if one.association:
                rows.append(row | name_columns(f"mast:HST/product/{one.association}_drz.fits"))
            high = f"mast:HST/product/hst_{one.programme}_wfc3_ir_f153m_{one.rootname}_{one.product}.fits"
            rows.append(row | name_columns(high))
        return rows


def name_columns(uri: str) -> dict:
    name = uri.rpartition("/")[2]
    kind = name.rpartition("_")[2].removesuffix(".fits").upper()
    return {"dataURI": uri, "productFilename": name, "productSubGroupDescription": kind}


class ArchiveHandler(BaseHTTPRequestHandler):
    """Handles the requests of astroquery, requests and boto3."""

    archive: MastServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(OSError):  # the client may be killed
            super().handle()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path.endswith("/columnsconfig"):
            return self.send(json.dumps(columns()).encode(), kind="application/json")
        failure = self.archive.next_failure("invoke")
        if failure.isdecimal():
            return self.send(b"down", status=int(failure), kind="text/plain")
        if failure == "page":
            return self.send(b"<html>down for maintenance</html>", kind="text/html")
        if failure == "silent":
            self.archive.release.wait(60)
        if failure in ("hang up", "silent"):
            return self.disconnect()
        query = json.loads(unquote(body.removeprefix("request=")))
        self.archive.queries.append(query)
        self.send(json.dumps(self.answer(query, failure)).encode(), kind="application/json")

    def answer(self, query: dict, failure: str) -> dict:
        if failure == "error":
            return {"status": "ERROR", "msg": "no such service"}
        if failure == "odd":
            return {"status": "COMPLETE", "rows": []}
        if query["service"] == "Mast.Caom.Products":
            rows = self.archive.products(query["params"]["obsid"].split(","))
            fields = [*((name, "string") for name in PRODUCT_WORDS), ("size", "int")]
        else:
            rows = [row for row in self.archive.observations() if matches(row, query["params"]["filters"])]
            fields = [*((name, "string") for name in WORDS), *((name, "float") for name in NUMBERS)]
        known = set().union(*rows) if rows else {name for name, _ in fields}
        fields = [{"name": name, "type": kind} for name, kind in fields if name in known]
        paging = {"page": 1, "pageSize": 50000, "pagesFiltered": 1, "rows": len(rows), "rowsTotal": len(rows)}
        return {"status": "COMPLETE", "msg": "", "data": rows, "fields": fields, "paging": paging}

    def do_GET(self):
        url = urlsplit(self.path)
        uri = parse_qs(url.query).get("uri", [""])[0]
        files = {one.uri: one for one in self.archive.files}
        files |= {one.key: one for one in [*self.archive.files, *self.archive.references]}
        file = files.get(uri if url.path == "/api/v0.1/Download/file" else url.path)
        if file is None:
            return self.send(b"<Error><Code>NoSuchKey</Code></Error>", status=404, kind="application/xml")
        headers = dict(self.headers.items())
        self.archive.requests.append(FileRequest(file.name, self.headers.get("Range", ""), headers))
        self.send_file(file, self.archive.next_failure(file.name))

    def send_file(self, file: ArchiveFile | Reference, failure: str) -> None:
        word, _, number = failure.partition(" ")
        if word.isdecimal():
            return self.send(b"<Error><Code>Trouble</Code></Error>", status=int(word), kind="application/xml")
        if failure == "hang up":
            return self.disconnect()
        if failure == "page":
            return self.send(b"<!DOCTYPE html><html>Please come back later</html>", kind="text/html")
        content = file.content
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
            self.archive.stalled.set()
            self.archive.release.wait(60)
        if number:
            self.disconnect()

    def send(self, body: bytes, status: int = 200, kind: str = "text/html") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def disconnect(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(SHUT_RDWR)


def columns() -> dict:
    """Return the description of MAST's columns, as astroquery reads it."""
    words = {name: {"text": name, "vot.datatype": "char"} for name in WORDS}
    words["filters"]["separator"] = ";"
    return words | {name: {"text": name, "vot.datatype": "double"} for name in NUMBERS}


def matches(row: dict, filters: list[dict]) -> bool:
    """Return whether an observation matches the filters of a query; case is ignored."""
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
