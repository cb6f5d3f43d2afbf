"""The answers of ``blobwatch fetch``: what the archive has, what became of it, as a table or JSON."""

import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from blobwatch.archive.fetch import Outcome, fetch, look_up
from blobwatch.archive.folder import check_folder, known_rows, states
from blobwatch.archive.manifest import MANIFEST
from blobwatch.archive.wanted import Product, Wanted, day_of
from blobwatch.errors import BlobwatchError
from blobwatch.progress import say


def answer_fetch(
    wanted: Wanted, out: Path, from_cloud: bool, dry_run: bool, as_json: bool, pin: bool
) -> bool:
    """Fetch what is wanted, or list it; return whether all of it is here, or could be.

    Raises
    ------
    BlobwatchError
        If there is nothing to fetch, or the archive or the folder cannot be used.
    KeyboardInterrupt
        If it was interrupted; what came by then is kept, which is said.
    """
    if wanted.unlimited and not dry_run:
        raise BlobwatchError(
            f"this would fetch every exposure of {wanted.target}; give --start and --end, --proposal or "
            "--rootname, or see with --dry-run how much that is"
        )
    check_folder(out)
    found = look_up(wanted)
    public = [one for one in found if one.public]
    reserved = [one for one in found if not one.public]
    unlisted = sorted(set(wanted.rootnames) - {one.rootname for one in found})
    tell_of_missing(reserved, unlisted)
    if not public:
        raise BlobwatchError(f"none of {len(found)} exposures is public yet; there is nothing to fetch")
    if dry_run:
        answer_list(public, reserved, out, as_json)
        return not unlisted
    outcome = fetch(public, out, from_cloud)
    if as_json:
        print(json.dumps(as_answer(outcome, reserved, unlisted)))
    tell_outcome(outcome, len(public), out)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if pin and outcome.refused:
        say(f"{out} is not pinned, since it is not complete; run the same command again", "yellow")
    elif pin:
        pin_folder(out)
    return not outcome.refused and not unlisted


def tell_of_missing(reserved: list[Product], unlisted: list[str]) -> None:
    """Say which exposures cannot be had."""
    if reserved:
        names = ", ".join(one.rootname for one in reserved)
        say(f"not public yet and left out: {names}", "yellow")
    if unlisted:
        say(f"not in the archive's list: {', '.join(unlisted)}", "red")


def answer_list(products: list[Product], reserved: list[Product], out: Path, as_json: bool) -> None:
    """Print what would be fetched, and how much it is."""
    rows = known_rows(out, products[0].product)
    how = states(out, products, rows)
    missing = [one for one in products if how[one.name] != "here"]
    sums = {"bytes": total(products), "bytes_to_fetch": total(missing)}
    if as_json:
        files = [as_row(one) | {"state": how[one.name]} for one in products]
        listed = {"files": files, **sums, "not_public": [one.rootname for one in reserved]}
        print(json.dumps(listed))
        return
    table = Table("rootname", "day", "filter", "programme", "size", "here", box=None, pad_edge=False)
    for one in products:
        size = decimal(one.size) if one.size else "not said"
        is_here = {"here": "yes", "absent": "no", "altered": "altered"}[how[one.name]]
        table.add_row(one.rootname, day_of(one.expstart), one.filter, one.programme, size, is_here)
    printed = Console()
    printed.print(table)
    of_unknown = sum(one.size is None for one in products)
    printed.print(
        f"{len(products)} {products[0].product} files, {decimal(sums['bytes'])}; to be fetched: "
        f"{len(missing)}, {decimal(sums['bytes_to_fetch'])}"
        + (f"; the archive does not say the size of {of_unknown}" if of_unknown else ""),
        highlight=False,
        soft_wrap=True,
    )


def total(products: list[Product]) -> int:
    """Return the sum of the sizes that are known."""
    return sum(one.size or 0 for one in products)


def as_row(product: Product) -> dict:
    """Return a file of the archive's list as a row of the manifest, which lacks the md5."""
    return {
        "rootname": product.rootname,
        "uri": product.uri,
        "size": product.size,
        "expstart": product.expstart,
        "date": day_of(product.expstart),
        "filter": product.filter,
        "programme": product.programme,
        "product": product.product,
        "path": product.name,
    }


def as_answer(outcome: Outcome, reserved: list[Product], unlisted: list[str]) -> dict:
    """Return what became of the files, for programs."""
    refused = outcome.refused | {name: "not in the archive's list" for name in unlisted}
    return {
        "fetched": outcome.fetched,
        "kept": outcome.kept,
        "refused": refused,
        "not_public": [one.rootname for one in reserved],
    }


def tell_outcome(outcome: Outcome, count: int, out: Path) -> None:
    """Say how many files are here now."""
    came = sum(row["size"] for row in outcome.fetched)
    said = f"{len(outcome.fetched)} fetched ({decimal(came)}), {len(outcome.kept)} were here"
    left = count - len(outcome.fetched) - len(outcome.kept)
    said += f", {left} of {count} are missing" if left else ""
    if outcome.interrupted:
        say(said, "yellow")
    else:
        say(f"{said}; {out / MANIFEST} lists them", "red" if left else "green")


def pin_folder(out: Path) -> None:
    """Let DVC pin the folder, as ``dvc add`` does.

    Raises
    ------
    BlobwatchError
        If DVC refuses: outside a project, or where a stage makes that folder.
    """
    command = [sys.executable, "-m", "dvc", "add", "--quiet", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reasons = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next((line for line in reasons if line.startswith("ERROR")), reasons[-1] if reasons else "")
        raise BlobwatchError(
            f"the files are here, and `dvc add {out}` failed: {reason.removeprefix('ERROR: ').strip()}"
        )
    ignored = out.parent / ".gitignore"  # DVC writes none where the project ignores the folder already
    both = f"{out}.dvc and {ignored}" if ignored.exists() else f"{out}.dvc"
    say(f"pinned: commit {both}, then `dvc push`", "green")
