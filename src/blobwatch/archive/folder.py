"""The folder that exposures are fetched into: what lies there already, and whether more may come."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blobwatch.archive.download import PART
from blobwatch.archive.manifest import MANIFEST, read_manifest
from blobwatch.archive.query import Product
from blobwatch.errors import BlobwatchError
from blobwatch.files import file_hash, file_lock, lock_path
from blobwatch.progress import print_message, track


def check_folder(out: Path) -> None:
    """Refuse a folder that is none, or that DVC has pinned and not brought yet."""
    pinned = f"{out}.dvc"
    if not out.exists() and Path(pinned).exists():
        raise BlobwatchError(
            f"{out} is pinned by {pinned} and not here; bring it with `dvc pull {pinned}` (without a remote, "
            "`dvc checkout`), or what is pinned would be replaced by what is fetched now"
        )
    if out.exists() and not out.is_dir():
        raise BlobwatchError(f"{out} is a file; give a folder with --out")


def known_rows(out: Path, product: str) -> dict[str, dict]:
    """Return the manifest of a folder by the paths in it, empty where there is none.

    Raises
    ------
    BlobwatchError
        If the manifest is damaged, or files of another product lie there.
    """
    check_folder(out)
    rows = read_manifest(out / MANIFEST) if (out / MANIFEST).exists() else []
    others = sorted({row["product"] for row in rows} - {product})
    if others:
        raise BlobwatchError(
            f"{out} holds {', '.join(others)} files; fetch {product} into another folder with --out, since a "
            "folder of exposures holds each of them once"
        )
    return {row["path"]: row for row in rows}


def state(out: Path, product: Product, row: dict | None) -> str:
    """Return ``here`` for a file that is what the manifest says, else ``absent`` or ``altered``."""
    path = out / product.name
    if not path.exists():
        return "absent"
    agrees = row and path.stat().st_size == row["size"] and file_hash(path, "md5") == row["md5"]
    return "here" if agrees else "altered"


def states(out: Path, products: list[Product], rows: dict[str, dict]) -> dict[str, str]:
    """Return the state of each file by its name."""
    present = [one for one in products if (out / one.name).exists()]
    if not present:
        return dict.fromkeys((one.name for one in products), "absent")
    known = {
        one.name: state(out, one, rows.get(one.name))
        for one in track(present, len(present), f"checking {out}")
    }
    return {one.name: known.get(one.name, "absent") for one in products}


def tell_of_changes(out: Path, products: list[Product], rows: dict, found: dict[str, str]) -> None:
    """Say which files are not what the manifest says, and which the archive holds otherwise by now."""
    for one in products:
        if found[one.name] == "altered":
            why = "is no longer what the manifest says" if one.name in rows else "is not in the manifest"
            print_message(
                f"{out / one.name} {why}; fetched anew, and kept until the new one is whole", "yellow"
            )
        if found[one.name] == "here" and one.size not in (None, rows[one.name]["size"]):
            print_message(
                f"{out / one.name}: the archive has another version by now ({one.size} bytes, here "
                f"{rows[one.name]['size']}); kept as it is, remove it to fetch the new one",
                "yellow",
            )


def check_space(out: Path, missing: list[Product]) -> None:
    """Refuse what does not fit on the disk."""
    parts = (out / PART.format(one.name) for one in missing)
    here = sum(path.stat().st_size for path in parts if path.exists())
    need = sum(one.size or 0 for one in missing) - here
    free = shutil.disk_usage(out).free
    if need > free:
        raise BlobwatchError(
            f"{need / 1e9:.1f} GB are to be fetched and {out} has room for {free / 1e9:.1f} GB; "
            "free some, or ask for fewer days"
        )


@contextmanager
def lock_folder(out: Path) -> Iterator[None]:
    """Create the folder if it is missing, and lock it against other fetches."""
    check_folder(out)
    busy = f"another fetch writes into {out}; wait for it, or give another --out"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with file_lock(lock_path(out), timeout=0, busy=busy):
            yield
    except OSError as error:
        raise BlobwatchError(
            f"{out} cannot be written to ({error.strerror or error}); mend that and run the same command "
            "again: it goes on from where it was"
        ) from None
