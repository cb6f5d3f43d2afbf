"""The page of an audit: one file of HTML that needs nothing else, for whoever has to rely on a version."""

import csv
import re
from base64 import b64encode
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from hashlib import md5
from io import BytesIO, StringIO

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from blobwatch.detector.model_card import SIMULATED_PREFIX
from blobwatch.figures.evaluation import plot_learning_curves
from blobwatch.lineage.audit.hashing import MISMATCH, MISSING
from blobwatch.lineage.audit.record_checks import Link
from blobwatch.lineage.audit.run import Audit
from blobwatch.lineage.promotion.criteria import FLOORS
from blobwatch.lineage.restore import Snapshot

HISTORY = "reports/train/history.csv"
MJD_ZERO = datetime(1858, 11, 17)
PICTURE = {  # the links of each row
    "What is deployed": ["promotions log", "model files", "registry", "alias", "run"],
    "How it was made": ["fingerprint", "commit", "dvc.lock", "evaluation"],
    "What it learned from": ["subframes", "difference images", "raw exposures"],
}
WORDS = {f"{section}.{name}": words for name, (section, _, words) in FLOORS.items()}


def render_page(found: Audit, checked: datetime | None = None) -> str:
    """Return the page of an audit.

    Parameters
    ----------
    found : Audit
    checked : datetime, optional
        When it was made, with its time zone; where it is not given, now.

    Returns
    -------
    str
        HTML that holds its style and its picture, with no script and no address of anything outside. The
        same audit at the same minute gives the same text.
    """
    row_of = {name: row for row, names in PICTURE.items() for name in names}
    beyond = [Link(name, MISSING, note="the audit did not get there") for name in row_of]
    reached = {link.link for link in found.links}
    links = found.links + [link for link in beyond if link.link not in reached]
    picture = {row: [] for row in PICTURE}
    for link in links:
        picture[row_of.get(link.link, "What it learned from")].append(link)
    curves, silence = training_curves(found.snapshot)
    environment = Environment(
        loader=PackageLoader("blobwatch.lineage.audit", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "marked": marked, "day": day}
    return environment.get_template("page.html").render(
        found=found,
        subject=found.subject,
        record=found.subject.record if found.subject else None,
        checked=f"{(checked or datetime.now(UTC)).astimezone(UTC):%Y-%m-%d %H:%M}",
        picture=picture,
        reasons={status: by_reason(links, status) for status in (MISMATCH, MISSING)},
        unsure=sum(link.status == MISSING for link in links),
        total=len(links),
        words=WORDS,
        simulated=sum(row["rootname"].startswith(SIMULATED_PREFIX) for row in found.exposures),
        counts=per_role(found.exposures),
        curves=curves,
        silence=silence,
    )


def by_reason(links: list[Link], status: str) -> dict[str, list[str]]:
    """Return the names of the links with a status, by what is said of them."""
    names = defaultdict(list)
    for link in links:
        if link.status == status:
            names[link.note].append(link.link)
    return names


def per_role(exposures: list[dict]) -> dict[str, Counter]:
    """Return how many exposures of each role have each status."""
    counts = defaultdict(Counter)
    for row in exposures:
        counts[row["role"]][row["status"]] += 1
    return counts


def training_curves(snapshot: Snapshot | None) -> tuple[str, str]:
    """Return the curves of the training as a PNG in base64, or else why there are none."""
    content = snapshot.read(HISTORY) if snapshot else None
    if content is None:
        return "", f"{HISTORY} of this training is not here, so there are no curves."
    if snapshot.outs.get(HISTORY) != md5(content).hexdigest():
        return "", f"{HISTORY} is not the one that dvc.lock names, so its curves are not shown."
    try:
        table = csv.DictReader(StringIO(content.decode()))
        history = [{key: float(cell or "nan") for key, cell in row.items()} for row in table]
        figure, png = plot_learning_curves(history), BytesIO()
    except (KeyError, TypeError, ValueError):
        return "", f"{HISTORY} holds no curves of loss and AUC."
    figure.savefig(png, format="png", dpi=100, metadata={"Software": None})
    return b64encode(png.getvalue()).decode(), ""


def short(text: str) -> str:
    """Return a hash by its first figures, several as their number, and anything else as it is."""
    hashes = re.findall(r"\b[0-9a-f]{12,}\b", text)
    return f"{len(hashes)} files" if len(hashes) > 1 else f"{hashes[0][:12]}…" if hashes else text


def marked(text: str) -> Markup:
    """Return a text, escaped, with the commands that it has between backticks set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def day(mjd: str) -> str:
    """Return the UTC date of a modified Julian date; empty if it is none."""
    try:
        return (MJD_ZERO + timedelta(days=float(mjd))).date().isoformat()
    except (OverflowError, ValueError):
        return ""
