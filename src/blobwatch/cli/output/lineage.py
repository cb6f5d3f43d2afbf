"""Output of the lineage commands, as JSON or tables."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from blobwatch.cli.output.printing import build_table, is_wider_than_terminal, print_json, print_table
from blobwatch.files import write_text
from blobwatch.lineage.audit.hashing import MISMATCH, OK
from blobwatch.lineage.audit.run import Audit, audit, find_versions_of_exposure
from blobwatch.lineage.promotion.deployment import recover
from blobwatch.progress import console, print_message

COLOURS = {OK: "green", "incomplete": "yellow", "missing": "yellow", MISMATCH: "red"}


def run_audit(root: Path, version: str, as_json: bool, html: Path | None) -> bool:
    """Audit a version and print or write the result; return False on a mismatch."""
    recover(root)
    found = audit(root, version)
    if html:
        from blobwatch.lineage.audit.html_report import render_page

        write_text(html, render_page(found))
        console.print(f"page: {html}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json(found.as_json())
    else:
        print_audit(found)
    return found.verdict != MISMATCH


def print_audit(found: Audit) -> None:
    """Print the verdict, the links, and the numbers of exposures and labels."""
    out = Console()
    subject = found.subject
    title = f"version {subject.version} ({subject.state})" if subject else "promotion log"
    out.print(f"{title}: {coloured(found.verdict)}", highlight=False)
    rows = [(link.link, coloured(link.status), escape(link.note)) for link in found.links]
    print_table(("link", "status", ""), rows)
    if found.exposures:
        counts = Counter((row["role"], row["status"]) for row in found.exposures)
        summary = ", ".join(f"{n} {role} {status}" for (role, status), n in counts.items())
        out.print(
            f"{len(found.exposures)} exposures: {summary}; use --json or --html for the list", highlight=False
        )
    if subject:
        labels = f"labels: {found.labels.summary}; {found.labels.note}"
        out.print(labels, highlight=False, markup=False, soft_wrap=True)


def coloured(status: str) -> str:
    """Return a status with colour markup."""
    return f"[{COLOURS[status]}]{status}[/]"


def run_exposure(root: Path, rootname: str, as_json: bool) -> None:
    """Print the versions that used an exposure, and whether one of them is deployed."""
    recover(root)
    found = find_versions_of_exposure(root, rootname)
    if as_json:
        print_json(found)
        return
    out = Console()
    results = {
        True: "[red]used by the deployed version[/]",
        False: "not used by the deployed version",
        None: "unknown whether the deployed version used it",
    }
    out.print(f"{escape(rootname)}: {results[found['deployed']]}", highlight=False)
    if found["versions"]:
        rows = [(str(row["version"]), row["state"], row["role"], row["md5"]) for row in found["versions"]]
        print_table(("version", "state", "role", "md5 when used"), rows)
    if found["unknown"]:
        numbers = ", ".join(map(str, found["unknown"]))
        out.print(f"versions {numbers}: unknown, because their manifests list no exposures", highlight=False)


def run_models(root: Path, as_json: bool) -> None:
    """Print every version with its state, metrics and data."""
    from blobwatch.lineage import versions

    recover(root)
    listed = versions.list_versions(root)
    if as_json:
        print_json(listed)
        return
    if not listed:
        Console().print("no versions yet; create one with `dvc repro`", highlight=False)
        return
    names = list(versions.FLOORS)
    table = versions_table(listed, names)
    while names and is_wider_than_terminal(table):
        names.pop()
        table = versions_table(listed, names)
    Console().print(table)
    if omitted := list(versions.FLOORS)[len(names) :]:
        print_message(f"{len(omitted)} metrics do not fit in this terminal. Use a wider one, or --json")


def versions_table(listed: list[dict], names: list[str]) -> Table:
    """Return the table of versions with some of their metrics."""
    rows = []
    for one in listed:
        values = [format_value(one["metrics"].get(name)).replace(" [", "\n[") for name in names]
        data = "\n".join(digest[:8] for digest in one["data"].values())
        forced = " (forced)" if one["forced"] else ""
        rows.append((str(one["version"]), one["state"] + forced, *values, data, (one["when"] or "-")[:10]))
    heads = (name.replace("_", " ", 1).replace("_", "\n", 1).replace("_", " ") for name in names)
    return build_table(("version", "state", *heads, "data", "since"), rows)


def format_value(value: dict | None) -> str:
    """Return a metric with its interval, or a dash if it is unknown."""
    if value is None:
        return "-"
    ends = "" if value["low"] is None else f" [{value['low']:.3g}, {value['high']:.3g}]"
    return f"{value['value']:.3g}{ends}"


def run_compare(root: Path, first: str, second: str, as_json: bool) -> None:
    """Print the differences between two versions."""
    from blobwatch.lineage import versions
    from blobwatch.params import load_params

    recover(root)
    found = versions.compare(root, first, second, load_params(root / "params.yaml"))
    if as_json:
        print_json(found)
        return
    out, (a, b) = Console(), found["versions"]
    for kind in ("params", "data"):
        if found[kind]:
            rows = [(name, *(escape(str(one)) for one in pair)) for name, pair in found[kind].items()]
            print_table((kind, f"version {a}", f"version {b}"), rows)
        else:
            out.print(f"{kind}: the same", highlight=False)
    out.print(f"code: {', '.join(found['code']) or 'the same'}", highlight=False, markup=False)
    words = {"only_first": f"only in {a}", "only_second": f"only in {b}", "altered": "with different content"}
    changes = [f"{len(names)} {words[kind]}" for kind, names in found["exposures"].items() if names]
    out.print(f"exposures: {', '.join(changes) or 'the same'}", highlight=False)
    test = found["test"]
    title = f"on the same {test['subframes']} test subframes, {test['exposures']} exposures"
    columns = ("slice", "part", "", f"version {a}", f"version {b}", f"{b} minus {a}")
    rows = [
        (
            row["slice"],
            row["part"],
            str(row["count"]),
            *(format_value(row[key]) for key in ("a", "b", "difference")),
        )
        for row in found["results"]
    ]
    print_table(columns, rows, border=True, title=title)


def run_verify(root: Path, version: str, as_json: bool) -> bool:
    """Rebuild a version and print the comparison; return False if it differs."""
    from blobwatch.lineage import rebuild

    recover(root)
    found = rebuild.verify(root, version)
    if as_json:
        print_json(found.as_json())
        return found.verdict != rebuild.DIFFERS
    out = Console()
    out.print(f"version {found.version}, rebuilt from its commit: {found.verdict}", highlight=False)
    rows = [
        (stage, f"first to differ: {status}" if stage == found.first else status)
        for stage, status in found.stages.items()
    ]
    print_table(("stage", "outputs"), rows)
    for line in [*found.against, *(f"different environment: {one}" for one in found.environment)]:
        out.print(line, highlight=False, markup=False)
    return found.verdict != rebuild.DIFFERS


def run_gc(root: Path, delete: bool, lost: bool, as_json: bool) -> None:
    """Clean DVC's cache, or list what would be removed."""
    from blobwatch.lineage.gc import clean_up

    found = clean_up(root, delete, lost)
    if as_json:
        about = {"deleted": delete, "objects": sorted(found.removable), "bytes": found.size}
        about |= {"kept": found.kept, "unknown": found.unknown, "deleted_runs": found.deleted_runs}
        print_json(about)
        return
    out = Console()
    for owner, folders in found.unknown.items():
        out.print(f"{owner}: the contents of {len(folders)} folders are unknown; their listings are missing")
    for owner, count in found.kept.items():
        out.print(f"kept: {count} objects of {owner}", highlight=False)
    summary = f"{len(found.removable)} objects, {found.size / 1e6:.1f} MB"
    result = f"removed: {summary}" if delete else f"unused: {summary}; use --delete to remove them"
    out.print(result if found.removable else "no unused objects", highlight=False)
    if found.deleted_runs:
        ids = ",".join(found.deleted_runs)
        out.print(
            f"runs deleted in MLflow and not used by a promoted version: mlflow gc --run-ids {ids}",
            highlight=False,
        )
