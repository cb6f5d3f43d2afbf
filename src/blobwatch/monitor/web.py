"""The server: pages for everybody who can reach it, reviews for those who have a token."""

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
from blobwatch.monitor.ledger.exposures import exposure_named
from blobwatch.monitor.ledger.reviewers import name_of
from blobwatch.monitor.ledger.rows import NoBlob, list_blobs
from blobwatch.monitor.model_status import Renewed, find_deployed
from blobwatch.monitor.overrule import overrule
from blobwatch.monitor.pages import STYLE, Pages, Reader
from blobwatch.monitor.review import review
from blobwatch.overrules import DEFAULT
from blobwatch.settings import QualitySettings

COOKIE = "blobwatch_token"
LARGEST = 2**31 - 1  # a number in any database
LONGEST = 100_000  # bytes of a form
Number = Annotated[int, InPath(ge=1, le=LARGEST)]
SAFE = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
# The audit's page is one file with its own style.
OWN_STYLE = SAFE | {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'"
}


def make_app(
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
        Of the project, whose deployed model is audited.
    labels : Path
        Where reviews become labels.
    reference : Reference or None
    hosts : list of str
        Names under which the server is reached; requests with other names are refused.
    overrules : Path
        Folder of the table of overrules.
    limits : QualitySettings, optional
    """
    limits = limits or QualitySettings()
    pages = Pages(ledger, reference, Renewed(lambda: find_deployed(root)), limits=limits)
    pages.deployed()  # have it found while nobody waits
    pages.warm()
    app = FastAPI(title="blobwatch", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)

    def reader(request: Request) -> Reader:
        return Reader(name_of(ledger, token_in(request)), labels.is_dir(), overrules.parent.is_dir())

    def message(request: Request, title: str, said: str, status: int) -> HTMLResponse:
        try:
            html = pages.plain("message", reader(request), title=title, said=said)
        except BlobwatchError:  # the ledger itself cannot be asked
            return PlainTextResponse(f"{title}: {said}\n", status)
        return HTMLResponse(html, status)

    @app.middleware("http")
    async def guard(request: Request, call_next) -> Response:
        if request.method not in ("GET", "HEAD"):
            if not is_own(request):
                return PlainTextResponse("a change is taken only from a page of this server\n", 403, SAFE)
            if not is_short(request):
                return PlainTextResponse(f"a form of at most {LONGEST} bytes is taken\n", 413, SAFE)
        response = await call_next(request)
        for key, value in SAFE.items():
            response.headers.setdefault(key, value)
        return response

    @app.exception_handler(RequestValidationError)
    def not_understood(request: Request, error: RequestValidationError) -> Response:
        names = sorted({str(one["loc"][-1]) for one in error.errors() if one.get("loc")})
        said = f"The address or the form lacks something, or holds what it should not: {', '.join(names)}."
        return message(request, "Not understood", said[:300], 422)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return message(request, "Not found", "There is no such page.", 404)
        answer = message(request, "Refused", f"{error.detail}.", error.status_code)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(BlobwatchError)
    def wrong(request: Request, error: BlobwatchError) -> Response:
        return message(request, "That cannot be done", str(error), 400)

    @app.exception_handler(NoBlob)
    def absent(request: Request, error: NoBlob) -> Response:
        return message(request, "Not found", str(error), 404)

    @app.get("/", response_class=HTMLResponse)
    def index(request: Request) -> str:
        return pages.index(reader(request))

    @app.get("/blob/{number}", response_class=HTMLResponse)
    def blob(request: Request, number: Number) -> str:
        return pages.blob(number, reader(request))

    @app.post("/blob/{number}/review")
    def take_review(
        request: Request, number: Number, verdict: Annotated[str, Form()], reason: Annotated[str, Form()]
    ) -> Response:
        who = name_of(ledger, token_in(request))
        if not who:
            return message(request, "Refused", "Sign in with your token to review.", 401)
        review(ledger, labels, number, verdict, reason, who)
        return RedirectResponse(f"/blob/{number}", 303)

    @app.get("/exposures", response_class=HTMLResponse)
    def exposures(request: Request, page: Annotated[int, Query(ge=1, le=LARGEST)] = 1) -> str:
        return pages.exposures(page, reader(request))

    @app.post("/exposure/{rootname}/overrule")
    def take_overrule(
        request: Request,
        rootname: str,
        verdict: Annotated[str, Form()],
        reason: Annotated[str, Form()],
        page: Annotated[int, Form(ge=1, le=LARGEST)] = 1,
    ) -> Response:
        who = name_of(ledger, token_in(request))
        if not who:
            return message(request, "Refused", "Sign in with your token to overrule.", 401)
        with ledger.reading() as session:
            known = exposure_named(session, rootname)
        if known is None:
            return message(request, "Not found", "The ledger has no such exposure.", 404)
        overrule(ledger, overrules, rootname, verdict, reason, who)
        return RedirectResponse(f"/exposures?page={page}#{rootname}", 303)

    @app.get("/drift", response_class=HTMLResponse)
    def drift(request: Request) -> str:
        return pages.drift(reader(request))

    @app.get("/model", response_class=HTMLResponse)
    def model(request: Request) -> str:
        return pages.model(reader(request))

    @app.get("/audit")
    def audit(request: Request) -> Response:
        known = pages.deployed()
        if not known.page:
            return message(request, "No audit", known.note, 404)
        return HTMLResponse(known.page, headers=OWN_STYLE)

    @app.get("/sign-in", response_class=HTMLResponse)
    def sign_in(request: Request, back: Annotated[int, Query(ge=0, le=LARGEST)] = 0) -> str:
        return pages.plain("sign-in", reader(request), said="", back=back)

    @app.post("/sign-in")
    def signed_in(
        request: Request,
        token: Annotated[str, Form()],
        back: Annotated[int, Form(ge=0, le=LARGEST)] = 0,
    ) -> Response:
        if not name_of(ledger, token.strip()):
            said = "No reviewer has this token."
            return HTMLResponse(pages.plain("sign-in", reader(request), said=said, back=back), 401)
        answer = RedirectResponse(f"/blob/{back}" if back else "/", 303)
        about = {"httponly": True, "samesite": "strict", "secure": request.url.scheme == "https"}
        answer.set_cookie(COOKIE, token.strip(), max_age=30 * 86400, **about)
        return answer

    @app.post("/sign-out")
    def sign_out() -> Response:
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(COOKIE)
        return answer

    @app.get("/blobs.json")
    def as_json() -> list[dict]:
        with ledger.reading() as session:
            return list_blobs(session)

    @app.get("/blobs.{form}")
    def export(form: str) -> Response:
        if f".{form}" not in WRITERS:
            raise HTTPException(404)
        with ledger.reading() as session:
            rows = list_blobs(session)
        return PlainTextResponse(WRITERS[f".{form}"](rows), media_type="text/plain; charset=utf-8")

    @app.get("/style.css")
    def style() -> Response:
        return FileResponse(STYLE, media_type="text/css")

    return app


def token_in(request: Request) -> str:
    """Return the token of a request: of its header, or of the cookie."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else request.cookies.get(COOKIE, "")


def is_short(request: Request) -> bool:
    """Tell whether what a request brings is said to be short; the server reads no more than is said."""
    said = request.headers.get("content-length", "")
    return said.isascii() and said.isdigit() and int(said[:9]) <= LONGEST and len(said) < 9


def is_own(request: Request) -> bool:
    """Tell whether a change comes from a page of this server, or from a program that shows a token.

    A browser says with each change from which page it comes, and lets no page elsewhere set the header.
    """
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return True
    _, _, origin = request.headers.get("origin", "").partition("://")
    return bool(origin) and origin == request.headers.get("host", "")


def serve(app: FastAPI, host: str, port: int, ready: Callable[[], None]) -> None:
    """Serve until the program is told to end; call ``ready`` once it can be asked.

    Raises
    ------
    BlobwatchError
        If the port is taken or the host is none of this machine.
    """
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise BlobwatchError(
            f"nothing can listen at {host}:{port} ({error.strerror}); give another --port"
        ) from None
    with listening:
        ready()
        config = uvicorn.Config(app, log_level="warning", server_header=False)
        uvicorn.Server(config).run([listening])


def names_of(host: str, further: list[str]) -> list[str]:
    """Return the names under which a server at a host may be asked."""
    names = {"127.0.0.1", "localhost", "[::1]", *further}
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        everywhere = False
    return sorted(names if everywhere else names | {f"[{host}]" if ":" in host else host})
