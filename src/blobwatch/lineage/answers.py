"""What the commands of the lineage print: JSON for programs, tables for people."""

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from blobwatch.files import write_text
from blobwatch.lineage import audit
from blobwatch.lineage.deployment import recover
from blobwatch.lineage.evidence import MISMATCH, OK
from blobwatch.progress import console

COLOURS = {OK: "green", "incomplete": "yellow", "missing": "yellow", MISMATCH: "red"}


def answer_audit(root: Path, version: str, as_json: bool, html: Path | None) -> bool:
    """Print the audit of a version, or write its page; return whether nothing mismatches."""
    recover(root)
    found = audit.audit(root, version)
    if html:
        from blobwatch.lineage.page import page

        write_text(html, page(found))
        console.print(f"page: {html}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps(found.as_json()))
    else:
        print_audit(found)
    return found.verdict != MISMATCH


def print_audit(found: audit.Audit) -> None:
    """Print the verdict, the links, and how many exposures stand behind them."""
    out = Console()
    subject = found.subject
    who = f"version {subject.version} ({subject.state})" if subject else "the log of promotions"
    out.print(f"{who}: {coloured(found.verdict)}", highlight=False)
    table = Table("link", "status", "", box=None, pad_edge=False)
    for link in found.links:
        table.add_row(link.link, coloured(link.status), escape(link.note))
    out.print(table)
    if found.exposures:
        counts = {}
        for row in found.exposures:
            counts[row["role"], row["status"]] = counts.get((row["role"], row["status"]), 0) + 1
        said = ", ".join(f"{n} {role} {status}" for (role, status), n in counts.items())
        out.print(f"{len(found.exposures)} exposures: {said}; --json or --html lists them", highlight=False)


def coloured(status: str) -> str:
    """Return a status in its colour."""
    return f"[{COLOURS[status]}]{status}[/]"


def answer_exposure(root: Path, rootname: str, as_json: bool) -> None:
    """Print which versions an exposure touched, and whether one of them is deployed."""
    recover(root)
    touched = audit.touched_by(root, rootname)
    deployed = any(row["deployed"] for row in touched)
    if as_json:
        print(json.dumps({"exposure": rootname, "deployed": deployed, "versions": touched}))
        return
    out = Console()
    if not touched:
        out.print(f"{escape(rootname)} is behind no version whose files are here", highlight=False)
        return
    what = "[red]a deployed version[/]" if deployed else "no deployed version"
    out.print(f"{escape(rootname)} is behind {what}", highlight=False)
    table = Table("version", "state", "role", "md5 then", box=None, pad_edge=False)
    for row in touched:
        table.add_row(str(row["version"]), row["state"], row["role"], row["md5"])
    out.print(table)
