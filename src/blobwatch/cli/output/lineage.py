"""What the commands of the lineage print: JSON for programs, tables for people."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column

from blobwatch.cli.output.printing import print_json, print_table
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
        print_json(found.as_json())
    else:
        print_audit(found)
    return found.verdict != MISMATCH


def print_audit(found: run.Audit) -> None:
    """Print the verdict, the links, and how many exposures and labels stand behind them."""
    out = Console()
    subject = found.subject
    who = f"version {subject.version} ({subject.state})" if subject else "the log of promotions"
    out.print(f"{who}: {coloured(found.verdict)}", highlight=False)
    rows = [(link.link, coloured(link.status), escape(link.note)) for link in found.links]
    print_table(("link", "status", ""), rows)
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
        print_json(found)
        return
    out = Console()
    what = {
        True: "[red]a deployed version[/]",
        False: "no deployed version",
        None: "nobody knows which version",
    }
    out.print(f"{escape(rootname)} is behind {what[found['deployed']]}", highlight=False)
    if found["versions"]:
        rows = [(str(row["version"]), row["state"], row["role"], row["md5"]) for row in found["versions"]]
        print_table(("version", "state", "role", "md5 then"), rows)
    if found["unknown"]:
        numbers = ", ".join(map(str, found["unknown"]))
        out.print(f"not known of version {numbers}: their manifests name no exposures", highlight=False)


def answer_models(root: Path, as_json: bool) -> None:
    """Print every version with its state, its metrics and its data."""
    from blobwatch.lineage import versions

    recover(root)
    listed = versions.list_versions(root)
    if as_json:
        print_json(listed)
        return
    if not listed:
        Console().print("there is no version yet; `dvc repro` makes one", highlight=False)
        return
    names = list(versions.FLOORS)
    heads = (name.replace("_", " ") for name in names)
    rows = []
    for one in listed:
        figures = [in_words(one["metrics"].get(name)).replace(" [", "\n[") for name in names]
        data = " ".join(digest[:8] for digest in one["data"].values())
        forced = " (forced)" if one["forced"] else ""
        state, since = one["state"] + forced, (one["when"] or "-")[:10]
        rows.append((str(one["version"]), state, *figures, data, since))
    print_table(("version", Column("state", no_wrap=True), *heads, "data", "since"), rows)


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
        print_json(found)
        return
    out, (a, b) = Console(), found["versions"]
    for kind in ("params", "data"):
        if found[kind]:
            rows = [(name, *(escape(str(one)) for one in values)) for name, values in found[kind].items()]
            print_table((kind, f"version {a}", f"version {b}"), rows)
        else:
            out.print(f"{kind}: the same", highlight=False)
    out.print(f"code: {', '.join(found['code']) or 'the same'}", highlight=False, markup=False)
    words = {"only_first": f"only in {a}", "only_second": f"only in {b}", "altered": "with other bytes"}
    said = [f"{len(names)} {words[kind]}" for kind, names in found["exposures"].items() if names]
    out.print(f"exposures: {', '.join(said) or 'the same'}", highlight=False)
    test = found["test"]
    title = f"on the same {test['subframes']} test subframes, {test['exposures']} exposures"
    columns = ("slice", "part", "", f"version {a}", f"version {b}", f"{b} minus {a}")
    rows = [
        (
            row["slice"],
            row["part"],
            str(row["count"]),
            *(in_words(row[key]) for key in ("a", "b", "difference")),
        )
        for row in found["results"]
    ]
    print_table(columns, rows, border=True, title=title)


def answer_verify(root: Path, version: str, as_json: bool) -> bool:
    """Print whether a version comes out again; return whether it does."""
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
        print_json(about)
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
