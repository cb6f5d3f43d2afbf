"""Output of ``blobwatch fetch``: files of the archive as tables or JSON, and messages."""

import subprocess
import sys
from pathlib import Path

from rich.filesize import decimal

from blobwatch.archive.fetch import FetchResult, fetch, find_products
from blobwatch.archive.flats import FOLDER, fetch_flats, find_flats, flat_state
from blobwatch.archive.manifest import MANIFEST, check_output, file_states, read_rows
from blobwatch.archive.query import Product, Query
from blobwatch.cli.output.printing import print_json, print_table
from blobwatch.errors import BlobwatchError
from blobwatch.progress import print_message

STATE_LABELS = {"here": "yes", "absent": "no", "altered": "altered"}


def run_fetch(
    query: Query,
    out: Path,
    from_cloud: bool,
    dry_run: bool,
    as_json: bool,
    with_dvc: bool,
    with_flats: bool = False,
) -> bool:
    """Fetch or list exposures; return whether all are present or available.

    Parameters
    ----------
    query : Query
    out : Path
    from_cloud, dry_run, as_json, with_dvc, with_flats : bool
        The options of the command. With ``with_flats`` and an unlimited query, only the flats of the
        exposures in ``out`` are fetched.

    Raises
    ------
    BlobwatchError
        If there is nothing to fetch, or the archive or the directory is unusable.
    KeyboardInterrupt
        If the user interrupted the command. Received files are kept and reported.
    """
    only_flats = query.is_unlimited and with_flats
    if query.is_unlimited and not (dry_run or with_flats):
        raise BlobwatchError(
            f"this query matches every exposure of {query.target}. Limit it with --start and --end, "
            "--proposal or --rootname, or list the files with --dry-run"
        )
    check_output(out)
    public, not_public, unlisted = ([], [], []) if only_flats else find_public(query)
    if dry_run:
        print_listing(public, not_public, out, as_json, with_flats)
        return not unlisted
    content, results, names = {}, [], None
    if not only_flats:
        result = fetch(public, out, from_cloud)
        results.append(result)
        names = [row["path"] for row in result.fetched + result.kept]
        content = result_to_json(result) | {"not_public": not_public}
        content["refused"] |= {name: "not in the archive's list" for name in unlisted}
    if with_flats:
        stopped = any(one.interrupted for one in results)
        flats = FetchResult() if stopped else fetch_flats(find_flats(out, names), out / FOLDER)
        results.append(flats)
        content["flats"] = result_to_json(flats)
    if as_json:
        print_json(content)
    if not only_flats:
        print_fetched(result, len(public), out)
    if with_flats:
        print_fetched_flats(flats, out / FOLDER)
    if any(one.interrupted for one in results):
        raise KeyboardInterrupt
    complete = not any(one.refused for one in results)
    if with_dvc:
        add_to_dvc(out, complete)
    return complete and not unlisted


def result_to_json(result: FetchResult) -> dict:
    """Return the rows of a result as in the JSON output."""
    return {"fetched": result.fetched, "kept": result.kept, "refused": dict(result.refused)}


def find_public(query: Query) -> tuple[list[Product], list[str], list[str]]:
    """Return the matching public files and the unavailable rootnames.

    A rootname is unavailable if it is not public or not listed.
    """
    found = find_products(query)
    public = [one for one in found if one.public]
    not_public = [one.rootname for one in found if not one.public]
    unlisted = sorted(set(query.rootnames) - {one.rootname for one in found})
    if not_public:
        print_message(f"left out, not public yet: {', '.join(not_public)}", "yellow")
    if unlisted:
        print_message(f"not in the archive: {', '.join(unlisted)}", "red")
    if not public:
        raise BlobwatchError(f"none of {len(found)} exposures is public yet. Request others")
    return public, not_public, unlisted


def print_fetched_flats(result: FetchResult, folder: Path) -> None:
    """Print how many flats are present."""
    if not (result.fetched or result.kept or result.refused or result.interrupted):
        print_message("flats: none needed, the headers name none", "green")
        return
    text = f"flats: {len(result.fetched)} fetched, {len(result.kept)} already present"
    text += f", {len(result.refused)} missing" if result.refused else ""
    print_message(f"{text}; in {folder}", "yellow" if result.interrupted or result.refused else "green")


def print_listing(
    products: list[Product], not_public: list[str], out: Path, as_json: bool, with_flats: bool
) -> None:
    """Print which files would be fetched and their sizes.

    The flats of missing exposures are unknown, because the headers of the exposures name them. Without
    products, only the flats of the exposures in ``out`` are printed.
    """
    content: dict[str, object] = {}
    present, missing = None, []
    if products:
        states = file_states(out, products, read_rows(out, products[0].product))
        present = [one.name for one in products if states[one.name] == "here"]
        missing = [one for one in products if states[one.name] != "here"]
        files = [one.to_row() | {"state": states[one.name]} for one in products]
        content |= {"files": files, "bytes": total_size(products), "bytes_to_fetch": total_size(missing)}
        content["not_public"] = not_public
    if with_flats:
        flats = [
            {"name": one.name, "uri": one.uri, "state": flat_state(out / FOLDER / one.name)}
            for one in find_flats(out, present)
        ]
        content["flats"] = flats
    if as_json:
        print_json(content)
        return
    if products:
        rows = []
        for row in files:
            size = decimal(row["size"]) if row["size"] else "unknown"
            cells = (row["rootname"], row["date"], row["filter"], row["programme"], size)
            rows.append((*cells, STATE_LABELS[row["state"]]))
        print_table(("rootname", "day", "filter", "programme", "size", "here"), rows)
        unknown = sum(one.size is None for one in products)
        print(
            f"{len(products)} {products[0].product} files, {decimal(total_size(products))}; to fetch: "
            f"{len(missing)}, {decimal(total_size(missing))}"
            + (f"; {unknown} of unknown size" if unknown else "")
        )
    if with_flats and flats:
        print_table(("flat", "here"), [(one["name"], STATE_LABELS[one["state"]]) for one in flats])
    elif with_flats:
        print("the headers name no flat")
    if with_flats and missing:
        print(f"the flats of {len(missing)} exposures are unknown until these are fetched")


def total_size(products: list[Product]) -> int:
    """Return the sum of the known sizes."""
    return sum(one.size or 0 for one in products)


def print_fetched(result: FetchResult, count: int, out: Path) -> None:
    """Print how many exposures are present."""
    size = decimal(sum(row["size"] for row in result.fetched))
    missing = count - len(result.fetched) - len(result.kept)
    text = f"{len(result.fetched)} fetched ({size}), {len(result.kept)} already present"
    text += f", {missing} of {count} missing" if missing else ""
    if result.interrupted:
        print_message(text, "yellow")
    else:
        print_message(f"{text}; listed in {out / MANIFEST}", "red" if missing else "green")


def add_to_dvc(out: Path, complete: bool) -> None:
    """Run ``dvc add`` on a complete directory.

    Raises
    ------
    BlobwatchError
        If DVC fails: outside a project, or if a stage creates the directory.
    """
    if not complete:
        print_message(
            f"{out}: not added to DVC because files are missing. Run the same command again", "yellow"
        )
        return
    command = [sys.executable, "-m", "dvc", "add", "--quiet", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "")
        raise BlobwatchError(
            f"the files are fetched, but `dvc add {out}` failed: {reason.removeprefix('ERROR: ').strip()}"
        )
    ignored = out.parent / ".gitignore"  # DVC writes none if git already ignores the directory
    files = f"{out}.dvc and {ignored}" if ignored.exists() else f"{out}.dvc"
    print_message(f"added to DVC: commit {files}, then run `dvc push`", "green")
