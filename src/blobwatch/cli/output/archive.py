"""The answers of ``blobwatch fetch``, as a table or JSON: files of the archive, and whether they are here."""

import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from blobwatch.archive.fetch import Outcome, fetch, look_up
from blobwatch.archive.flats import FOLDER, Flat, fetch_flats, find_flats, flat_states
from blobwatch.archive.folder import check_folder, known_rows, states
from blobwatch.archive.manifest import MANIFEST
from blobwatch.archive.query import Product, Wanted, day_of
from blobwatch.errors import BlobwatchError
from blobwatch.progress import print_message

IS_HERE = {"here": "yes", "absent": "no", "altered": "altered"}


def answer_fetch(
    wanted: Wanted,
    out: Path,
    from_cloud: bool,
    dry_run: bool,
    as_json: bool,
    pin: bool,
    with_flats: bool = False,
) -> bool:
    """Fetch exposures, or list them; return whether all are here, or could be.

    Parameters
    ----------
    wanted : Wanted
    out : Path
    from_cloud, dry_run, as_json, pin, with_flats : bool
        The options of the command. With ``with_flats`` and a query without limits, only the flats of the
        exposures in ``out`` are fetched.

    Raises
    ------
    BlobwatchError
        If there is nothing to fetch, or the archive or the folder cannot be used.
    KeyboardInterrupt
        If the user interrupted the command. Received files are kept and reported.
    """
    if wanted.unlimited and with_flats:
        return answer_flats(out, dry_run, as_json, pin)
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
        answer_list(public, reserved, out, as_json, with_flats)
        return not unlisted
    outcome, flats = fetch(public, out, from_cloud), Outcome()
    if with_flats and not outcome.interrupted:
        names = [row["path"] for row in outcome.fetched + outcome.kept]
        flats = fetch_flats(find_flats(out, names), out / FOLDER)
    if as_json:
        answer = as_answer(outcome, reserved, unlisted)
        print(json.dumps(answer | ({"flats": flats_as_answer(flats)} if with_flats else {})))
    tell_outcome(outcome, len(public), out)
    if with_flats:
        tell_flats(flats, out / FOLDER)
    if outcome.interrupted or flats.interrupted:
        raise KeyboardInterrupt
    refused = bool(outcome.refused or flats.refused)
    if pin:
        pin_whole(out, refused)
    return not refused and not unlisted


def answer_flats(out: Path, dry_run: bool, as_json: bool, pin: bool) -> bool:
    """Fetch or list the flats of the exposures in a folder; return whether all are here, or could be.

    Raises
    ------
    BlobwatchError
        If the folder holds no exposure, or cannot be used.
    KeyboardInterrupt
        If the user interrupted the command.
    """
    flats = find_flats(out)
    if dry_run:
        if as_json:
            print(json.dumps({"flats": flat_rows(flats, out)}))
        else:
            print_flats(flats, out)
        return True
    outcome = fetch_flats(flats, out / FOLDER) if flats else Outcome()
    if as_json:
        print(json.dumps({"flats": flats_as_answer(outcome)}))
    tell_flats(outcome, out / FOLDER)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if pin:
        pin_whole(out, bool(outcome.refused))
    return not outcome.refused


def flat_rows(flats: list[Flat], out: Path) -> list[dict]:
    """Return flats as rows of the answer: name, address, and whether they are here."""
    states = flat_states(out / FOLDER, flats)
    return [{"name": one.name, "uri": one.uri, "state": states[one.name]} for one in flats]


def print_flats(flats: list[Flat], out: Path) -> None:
    """Print the flats that would be fetched."""
    table = Table("flat", "here", box=None, pad_edge=False)
    for row in flat_rows(flats, out):
        table.add_row(row["name"], IS_HERE[row["state"]])
    Console().print(table if flats else "no flat is named in the headers")


def flats_as_answer(outcome: Outcome) -> dict:
    """Return which flats were fetched, kept and refused, for programs."""
    return {"fetched": outcome.fetched, "kept": outcome.kept, "refused": outcome.refused}


def tell_flats(outcome: Outcome, folder: Path) -> None:
    """Print how many flats are here now."""
    text = f"flats: {len(outcome.fetched)} fetched, {len(outcome.kept)} were here"
    text += f", {len(outcome.refused)} are missing" if outcome.refused else ""
    if not (outcome.fetched or outcome.kept or outcome.refused or outcome.interrupted):
        print_message("flats: none is named in the headers, so none is needed", "green")
    else:
        print_message(f"{text}; in {folder}", "yellow" if outcome.interrupted or outcome.refused else "green")


def pin_whole(out: Path, refused: bool) -> None:
    """Pin a folder with DVC if no file is missing."""
    if refused:
        print_message(f"{out} is not pinned, since it is not complete; run the same command again", "yellow")
    else:
        pin_folder(out)


def tell_of_missing(reserved: list[Product], unlisted: list[str]) -> None:
    """Say which exposures cannot be had."""
    if reserved:
        names = ", ".join(one.rootname for one in reserved)
        print_message(f"not public yet and left out: {names}", "yellow")
    if unlisted:
        print_message(f"not in the archive's list: {', '.join(unlisted)}", "red")


def answer_list(
    products: list[Product], reserved: list[Product], out: Path, as_json: bool, with_flats: bool = False
) -> None:
    """Print which files would be fetched and their sizes.

    The flats of exposures that are not here are unknown: their headers name them.
    """
    rows = known_rows(out, products[0].product)
    how = states(out, products, rows)
    missing = [one for one in products if how[one.name] != "here"]
    sums = {"bytes": total(products), "bytes_to_fetch": total(missing)}
    here = [one.name for one in products if how[one.name] == "here"]
    flats = find_flats(out, here) if with_flats else []
    if as_json:
        files = [as_row(one) | {"state": how[one.name]} for one in products]
        listed = {"files": files, **sums, "not_public": [one.rootname for one in reserved]}
        print(json.dumps(listed | ({"flats": flat_rows(flats, out)} if with_flats else {})))
        return
    table = Table("rootname", "day", "filter", "programme", "size", "here", box=None, pad_edge=False)
    for one in products:
        size = decimal(one.size) if one.size else "not said"
        table.add_row(
            one.rootname, day_of(one.expstart), one.filter, one.programme, size, IS_HERE[how[one.name]]
        )
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
    if with_flats:
        print_flats(flats, out)
    if with_flats and missing:
        printed.print(f"the flats of {len(missing)} exposures are known after those are fetched")


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
        print_message(said, "yellow")
    else:
        print_message(f"{said}; {out / MANIFEST} lists them", "red" if left else "green")


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
    print_message(f"pinned: commit {both}, then `dvc push`", "green")
