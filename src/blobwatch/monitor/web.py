"""Web server: pages for everyone, reviews and overrules for reviewers with a token."""

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Form, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.drift import Reference
from blobwatch.monitor.export import WRITERS
from blobwatch.monitor.ledger.database import Ledger
from blobwatch.monitor.ledger.exposures import find_exposure
from blobwatch.monitor.ledger.reviewers import find_reviewer
from blobwatch.monitor.ledger.rows import UnknownBlob, list_blobs
from blobwatch.monitor.model_status import DeployedCache, find_deployed
from blobwatch.monitor.overrules import overrule_exposure
from blobwatch.monitor.pages import STYLE, Pages, Reader
from blobwatch.monitor.reviews import review_blob
from blobwatch.overrules import DEFAULT
from blobwatch.settings import QualitySettings

COOKIE = "blobwatch_token"
MAX_ID = 2**31 - 1  # of a database row
MAX_FORM = 100_000  # bytes
BlobId = Annotated[int, InPath(ge=1, le=MAX_ID)]
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
# The page of the audit is a single file that contains its style.
AUDIT_HEADERS = HEADERS | {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'"
}


def create_app(
    ledger: Ledger,
    root: Path,
    labels: Path,
    reference: Reference | None,
    hosts: list[str],
    overrules: Path = DEFAULT,
    limits: QualitySettings | None = None,
) -> FastAPI:
    """Return the web application of a ledger.

    Parameters
    ----------
    ledger : Ledger
    root : Path
        Project whose deployed model is audited.
    labels : Path
        Folder where reviews are written as labels.
    reference : Reference or None
    hosts : list of str
        Accepted host names; requests with other names are rejected.
    overrules : Path
        Folder of the table of overrules.
    limits : QualitySettings, optional
    """
    limits = limits or QualitySettings()
    pages = Pages(ledger.reading, reference, DeployedCache(lambda: find_deployed(root)), limits=limits)
    pages.deployed()  # starts the audit in the background
    pages.preload()
    app = FastAPI(title="blobwatch", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)

    def reader(request: Request) -> Reader:
        return Reader(find_reviewer(ledger, get_token(request)), labels.is_dir(), overrules.parent.is_dir())

    def message(request: Request, title: str, text: str, status: int) -> Response:
        try:
            html = pages.plain("message", reader(request), title=title, text=text)
        except BlobwatchError:  # the ledger is not accessible
            return PlainTextResponse(f"{title}: {text}\n", status)
        return HTMLResponse(html, status)

    def require_reviewer(request: Request) -> str:
        if not (name := find_reviewer(ledger, get_token(request))):
            raise HTTPException(401, "Sign in with your token first")
        return name

    @app.middleware("http")
    async def guard(request: Request, call_next) -> Response:
        if request.method not in ("GET", "HEAD"):
            if not is_same_origin(request):
                return PlainTextResponse("changes are accepted only from this server\n", 403, HEADERS)
            if not has_valid_length(request):
                return PlainTextResponse(f"a form has at most {MAX_FORM} bytes\n", 413, HEADERS)
        response = await call_next(request)
        for key, value in HEADERS.items():
            response.headers.setdefault(key, value)
        return response

    @app.exception_handler(RequestValidationError)
    def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
        names = sorted({str(one["loc"][-1]) for one in error.errors() if one.get("loc")})
        text = f"These values of the address or the form are missing or invalid: {', '.join(names)}."
        return message(request, "Invalid request", text[:300], 422)

    @app.exception_handler(HTTPException)
    def on_http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return message(request, "Not found", "This page does not exist.", 404)
        response = message(request, "Request rejected", f"{error.detail}.", error.status_code)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(BlobwatchError)
    def on_error(request: Request, error: BlobwatchError) -> Response:
        title, status = ("Not found", 404) if isinstance(error, UnknownBlob) else ("Error", 400)
        return message(request, title, str(error), status)

    @app.get("/", response_class=HTMLResponse)
    def index(request: Request) -> str:
        return pages.index(reader(request))

    @app.get("/blob/{number}", response_class=HTMLResponse)
    def blob(request: Request, number: BlobId) -> str:
        return pages.blob(number, reader(request))

    @app.post("/blob/{number}/review")
    def post_review(
        request: Request, number: BlobId, verdict: Annotated[str, Form()], reason: Annotated[str, Form()]
    ) -> Response:
        review_blob(ledger, labels, number, verdict, reason, require_reviewer(request))
        return RedirectResponse(f"/blob/{number}", 303)

    @app.get("/exposures", response_class=HTMLResponse)
    def exposures(request: Request, page: Annotated[int, Query(ge=1, le=MAX_ID)] = 1) -> str:
        return pages.exposures(page, reader(request))

    @app.post("/exposure/{rootname}/overrule")
    def post_overrule(
        request: Request,
        rootname: str,
        verdict: Annotated[str, Form()],
        reason: Annotated[str, Form()],
        page: Annotated[int, Form(ge=1, le=MAX_ID)] = 1,
    ) -> Response:
        who = require_reviewer(request)
        with ledger.reading() as session:
            known = find_exposure(session, rootname)
        if known is None:
            return message(request, "Not found", "The ledger does not have this exposure.", 404)
        overrule_exposure(ledger, overrules, rootname, verdict, reason, who)
        return RedirectResponse(f"/exposures?page={page}#{rootname}", 303)

    @app.get("/drift", response_class=HTMLResponse)
    def drift(request: Request) -> str:
        return pages.drift(reader(request))

    @app.get("/model", response_class=HTMLResponse)
    def model(request: Request) -> str:
        return pages.model(reader(request))

    @app.get("/audit")
    def audit(request: Request) -> Response:
        deployed = pages.deployed()
        if not deployed.page:
            return message(request, "No audit", deployed.note, 404)
        return HTMLResponse(deployed.page, headers=AUDIT_HEADERS)

    @app.get("/sign-in", response_class=HTMLResponse)
    def sign_in(request: Request, back: Annotated[int, Query(ge=0, le=MAX_ID)] = 0) -> str:
        return pages.plain("sign-in", reader(request), error="", back=back)

    @app.post("/sign-in")
    def post_sign_in(
        request: Request, token: Annotated[str, Form()], back: Annotated[int, Form(ge=0, le=MAX_ID)] = 0
    ) -> Response:
        if not find_reviewer(ledger, token.strip()):
            error = "No reviewer has this token."
            return HTMLResponse(pages.plain("sign-in", reader(request), error=error, back=back), 401)
        response = RedirectResponse(f"/blob/{back}" if back else "/", 303)
        secure = request.url.scheme == "https"
        response.set_cookie(
            COOKIE, token.strip(), max_age=30 * 86400, httponly=True, samesite="strict", secure=secure
        )
        return response

    @app.post("/sign-out")
    def sign_out() -> Response:
        response = RedirectResponse("/", 303)
        response.delete_cookie(COOKIE)
        return response

    @app.get("/blobs.json")
    def blobs() -> list[dict]:
        with ledger.reading() as session:
            return list_blobs(session)

    @app.get("/blobs.{suffix}")
    def export(suffix: str) -> Response:
        if f".{suffix}" not in WRITERS:
            raise HTTPException(404)
        return PlainTextResponse(WRITERS[f".{suffix}"](blobs()), media_type="text/plain; charset=utf-8")

    @app.get("/style.css")
    def style() -> Response:
        return FileResponse(STYLE, media_type="text/css")

    return app


def get_token(request: Request) -> str:
    """Return the token from the header of a request, or from its cookie."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else request.cookies.get(COOKIE, "")


def has_valid_length(request: Request) -> bool:
    """Return whether the declared length is at most ``MAX_FORM``.

    The server does not read more than the declared length.
    """
    length = request.headers.get("content-length", "")
    return length.isascii() and length.isdigit() and int(length[:9]) <= MAX_FORM and len(length) < 9


def is_same_origin(request: Request) -> bool:
    """Return whether a request comes from a page of this server, or from a program with a token.

    A browser sends the origin of the page with each change. Pages of other origins cannot set the
    ``Authorization`` header.
    """
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return True
    _, _, origin = request.headers.get("origin", "").partition("://")
    return bool(origin) and origin == request.headers.get("host", "")


def serve(app: FastAPI, host: str, port: int, ready: Callable[[], None]) -> None:
    """Serve until a signal ends the program; call ``ready`` once connections are accepted.

    Raises
    ------
    BlobwatchError
        If the port is in use or the host is not an address of this machine.
    """
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise BlobwatchError(
            f"{host}:{port}: not available ({error.strerror}). Pass another --port"
        ) from None
    with listening:
        ready()
        config = uvicorn.Config(app, log_level="warning", server_header=False)
        uvicorn.Server(config).run([listening])


def allowed_hosts(host: str, further: list[str]) -> list[str]:
    """Return the host names that requests may use for a server at a host."""
    names = {"127.0.0.1", "localhost", "[::1]", *further}
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        everywhere = False
    return sorted(names if everywhere else names | {f"[{host}]" if ":" in host else host})
