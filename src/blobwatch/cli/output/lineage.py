"""What the commands of the lineage print: JSON for programs, tables for people."""

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from blobwatch.files import write_text
from blobwatch.lineage.audit import run
from blobwatch.lineage.audit.hashing import MISMATCH, OK
from blobwatch.lineage.promotion.deployment import recover
from blobwatch.progress import console

COLOURS = {OK: "green", "incomplete": "yellow", "missing": "yellow", MISMATCH: "red"}


def answer_audit(root: Path, version: str, as_json: bool, html: Path | None) -> bool:
    """Print the audit of a version, or write its page; return whether nothing mismatches."""
    recover(root)
    found = run.audit(root, version)
    if html:
        from blobwatch.lineage.audit.html_report import page

        write_text(html, page(found))
        console.print(f"page: {html}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps(found.as_json()))
    else:
        print_audit(found)
    return found.verdict != MISMATCH


def print_audit(found: run.Audit) -> None:
    """Print the verdict, the links, and how many exposures and labels stand behind them."""
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
    if subject:
        labels = f"labels: {found.labels.summary}; {found.labels.note}"
        out.print(labels, highlight=False, markup=False, soft_wrap=True)


def coloured(status: str) -> str:
    """Return a status in its colour."""
    return f"[{COLOURS[status]}]{status}[/]"


def answer_exposure(root: Path, rootname: str, as_json: bool) -> None:
    """Print which versions an exposure touched, and whether one of them is deployed."""
    recover(root)
    found = run.touched_by(root, rootname)
    if as_json:
        print(json.dumps(found))
        return
    out = Console()
    what = {
        True: "[red]a deployed version[/]",
        False: "no deployed version",
        None: "nobody knows which version",
    }
    out.print(f"{escape(rootname)} is behind {what[found['deployed']]}", highlight=False)
    table = Table("version", "state", "role", "md5 then", box=None, pad_edge=False)
    for row in found["versions"]:
        table.add_row(str(row["version"]), row["state"], row["role"], row["md5"])
    if found["versions"]:
        out.print(table)
    if found["unknown"]:
        numbers = ", ".join(map(str, found["unknown"]))
        out.print(f"not known of version {numbers}: their manifests name no exposures", highlight=False)


def answer_models(root: Path, as_json: bool) -> None:
    """Print every version with its state, its metrics and its data."""
    from blobwatch.lineage import versions

    recover(root)
    listed = versions.list_versions(root)
    if as_json:
        print(json.dumps(listed))
        return
    out = Console()
    if not listed:
        out.print("there is no version yet; `dvc repro` makes one", highlight=False)
        return
    names = list(versions.FLOORS)
    heads = (name.replace("_", " ") for name in names)
    table = Table("version", "state", *heads, "data", "since", box=None, pad_edge=False)
    table.columns[1].no_wrap = True
    for one in listed:
        figures = [in_words(one["metrics"].get(name)).replace(" [", "\n[") for name in names]
        data = " ".join(digest[:8] for digest in one["data"].values())
        forced = " (forced)" if one["forced"] else ""
        table.add_row(str(one["version"]), one["state"] + forced, *figures, data, (one["when"] or "-")[:10])
    out.print(table)


def in_words(value: dict | None) -> str:
    """Return a figure with its interval, where it is known."""
    if value is None:
        return "-"
    ends = "" if value["low"] is None else f" [{value['low']:.3g}, {value['high']:.3g}]"
    return f"{value['value']:.3g}{ends}"


def answer_compare(root: Path, first: str, second: str, as_json: bool) -> None:
    """Print in what two versions differ."""
    from blobwatch.lineage import versions
    from blobwatch.params import load_params

    recover(root)
    found = versions.compare(root, first, second, load_params(root / "params.yaml"))
    if as_json:
        print(json.dumps(found))
        return
    out, (a, b) = Console(), found["versions"]
    for kind in ("params", "data"):
        table = Table(kind, f"version {a}", f"version {b}", box=None, pad_edge=False)
        for name, values in found[kind].items():
            table.add_row(name, *(escape(str(value)) for value in values))
        out.print(table if found[kind] else f"{kind}: the same", highlight=False)
    out.print(f"code: {', '.join(found['code']) or 'the same'}", highlight=False, markup=False)
    words = {"only_first": f"only in {a}", "only_second": f"only in {b}", "altered": "with other bytes"}
    said = [f"{len(names)} {words[kind]}" for kind, names in found["exposures"].items() if names]
    out.print(f"exposures: {', '.join(said) or 'the same'}", highlight=False)
    test = found["test"]
    title = f"on the same {test['subframes']} test subframes, {test['exposures']} exposures"
    table = Table("slice", "part", "", f"version {a}", f"version {b}", f"{b} minus {a}", title=title)
    for row in found["results"]:
        cells = [in_words(row[key]) for key in ("a", "b", "difference")]
        table.add_row(row["slice"], row["part"], str(row["count"]), *cells)
    out.print(table)


def answer_verify(root: Path, version: str, as_json: bool) -> bool:
    """Print whether a version comes out again; return whether it does."""
    from blobwatch.lineage import rebuild

    recover(root)
    found = rebuild.verify(root, version)
    if as_json:
        print(json.dumps(found.as_json()))
        return found.verdict != rebuild.DIFFERS
    out = Console()
    out.print(f"version {found.version}, rebuilt from its commit: {found.verdict}", highlight=False)
    table = Table("stage", "outputs", box=None, pad_edge=False)
    for stage, status in found.stages.items():
        table.add_row(stage, f"first to differ: {status}" if stage == found.first else status)
    out.print(table)
    for line in [*found.against, *(f"not the environment of then: {one}" for one in found.environment)]:
        out.print(line, highlight=False, markup=False)
    return found.verdict != rebuild.DIFFERS


def answer_gc(root: Path, delete: bool, lost: bool, as_json: bool) -> None:
    """Print what was removed from DVC's cache, or would be."""
    from blobwatch.lineage.gc import clean_up

    found = clean_up(root, delete, lost)
    if as_json:
        about = {"deleted": delete, "objects": sorted(found.removable), "bytes": found.size}
        about |= {"kept": found.kept, "unknown": found.unknown, "deleted_runs": found.deleted_runs}
        print(json.dumps(about))
        return
    out = Console()
    for who, folders in found.unknown.items():
        out.print(f"{who}: nobody knows what {len(folders)} folders hold, their listings are not here")
    for who, count in found.kept.items():
        out.print(f"kept: {count} objects of {who}", highlight=False)
    what = f"{len(found.removable)} objects, {found.size / 1e6:.1f} MB"
    done = f"removed: {what}" if delete else f"nobody needs {what}; --delete removes them"
    out.print(done if found.removable else "nothing is there that nobody needs", highlight=False)
    if found.deleted_runs:
        ids = ",".join(found.deleted_runs)
        out.print(
            f"deleted in MLflow and behind no promoted version: mlflow gc --run-ids {ids}", highlight=False
        )
