"""HTML report of an audit, as one self-contained file."""

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
CHAIN = {  # the links of each row
    "Deployment": ["promotions log", "model files", "registry", "alias", "run"],
    "Training": ["fingerprint", "commit", "dvc.lock", "evaluation"],
    "Data": ["subframes", "difference images", "raw exposures"],
}
WORDS = {f"{section}.{name}": words for name, (section, _, words) in FLOORS.items()}


def render_page(found: Audit, checked: datetime | None = None) -> str:
    """Return the HTML page of an audit.

    Parameters
    ----------
    found : Audit
    checked : datetime, optional
        Time of the audit, with time zone; the default is now.

    Returns
    -------
    str
        HTML with embedded style and images, without scripts or external addresses. The same audit and minute
        give the same text.
    """
    row_of = {name: row for row, names in CHAIN.items() for name in names}
    reached = {link.link for link in found.links}
    missing = [name for name in row_of if name not in reached]
    links = found.links + [Link(name, MISSING, note="not reached by the audit") for name in missing]
    chain: dict[str, list[Link]] = {row: [] for row in CHAIN}
    for link in links:
        chain[row_of.get(link.link, "Data")].append(link)
    curves, no_curves = plot_training(found.snapshot)
    environment = Environment(
        loader=PackageLoader("blobwatch.lineage.audit", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": shorten_hashes, "marked": mark_code, "day": utc_date}
    return environment.get_template("page.html").render(
        found=found,
        subject=found.subject,
        record=found.subject.record if found.subject else None,
        checked=f"{(checked or datetime.now(UTC)).astimezone(UTC):%Y-%m-%d %H:%M}",
        chain=chain,
        reasons={status: group_by_note(links, status) for status in (MISMATCH, MISSING)},
        unchecked=sum(link.status == MISSING for link in links),
        total=len(links),
        words=WORDS,
        simulated=sum(row["rootname"].startswith(SIMULATED_PREFIX) for row in found.exposures),
        counts=count_statuses(found.exposures),
        curves=curves,
        no_curves=no_curves,
    )


def group_by_note(links: list[Link], status: str) -> dict[str, list[str]]:
    """Return the names of the links with a status, grouped by note."""
    names = defaultdict(list)
    for link in links:
        if link.status == status:
            names[link.note].append(link.link)
    return names


def count_statuses(exposures: list[dict]) -> dict[str, Counter]:
    """Return the number of exposures per role and status."""
    counts: defaultdict[str, Counter] = defaultdict(Counter)
    for row in exposures:
        counts[row["role"]][row["status"]] += 1
    return counts


def plot_training(snapshot: Snapshot | None) -> tuple[str, str]:
    """Return the training curves as a base64 PNG, or the reason why there are none."""
    content = snapshot.read(HISTORY) if snapshot else None
    if snapshot is None or content is None:
        return "", f"{HISTORY} of this training is missing, so curves cannot be plotted."
    if snapshot.outs.get(HISTORY) != md5(content).hexdigest():
        return "", f"{HISTORY} differs from the one in dvc.lock, so its curves are not shown."
    try:
        table = csv.DictReader(StringIO(content.decode()))
        history = [{key: float(cell or "nan") for key, cell in row.items()} for row in table]
        figure, png = plot_learning_curves(history), BytesIO()
    except (KeyError, TypeError, ValueError):
        return "", f"{HISTORY} has no loss and AUC columns to plot."
    figure.savefig(png, format="png", dpi=100, metadata={"Software": None})
    return b64encode(png.getvalue()).decode(), ""


def shorten_hashes(text: str) -> str:
    """Shorten a single hash, replace several by their number, and return other text unchanged."""
    hashes = re.findall(r"\b[0-9a-f]{12,}\b", text)
    return f"{len(hashes)} files" if len(hashes) > 1 else f"{hashes[0][:12]}…" if hashes else text


def mark_code(text: str) -> Markup:
    """Return the escaped text, with parts between backticks in ``<code>``."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def utc_date(mjd: str) -> str:
    """Return the UTC date of a modified Julian date; empty if the text is not a number."""
    try:
        return (MJD_ZERO + timedelta(days=float(mjd))).date().isoformat()
    except (OverflowError, ValueError):
        return ""
