"""FITS files below a folder: nested folders are searched, links followed, problems reported."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from blobwatch.errors import BlobwatchError

ENDINGS = (".fits", ".fits.gz", ".fits.fz")
FLAT_ENDINGS = ("_pfl.fits", "_dfl.fits", "_lfl.fits")  # flats, also followed by .gz or .fz
# Other products of the archive: drizzled and combined images, associations, engineering data.
OTHER_PRODUCTS = tuple(f"_{name}.fits" for name in ("drz", "drc", "crj", "asn", "spt", "jif", "jit", "trl"))


@dataclass(frozen=True)
class FileProblem:
    """A file or folder that cannot be used, and the reason with its remedy."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def find_fits_files(folder: Path | str, flats: bool = False) -> tuple[list[Path], list[FileProblem]]:
    """Search a folder and the folders below it for exposures and difference images.

    Links are followed, and each file is found once. Hidden files and folders are skipped: transfers
    that are still in progress have such names.

    Parameters
    ----------
    folder : Path or str
    flats : bool
        Whether to include flats and other products of the archive, which are recognized by their names.

    Returns
    -------
    paths : list of Path
        In alphabetical order.
    problems : list of FileProblem
        Files and folders that cannot be read.

    Raises
    ------
    BlobwatchError
        If the folder is absent.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BlobwatchError(f"{folder}: not a directory. Pass the directory that holds the exposures")
    files: dict[str, Path] = {}  # by the real path
    visited, problems = set(), []
    root = os.path.realpath(folder)
    pending = [(folder, root)]
    links: list[tuple[Path, str]] = []  # after all real entries, which keep their own paths
    while pending or links:
        path, real = pending.pop() if pending else links.pop(0)
        try:
            mode = path.stat().st_mode
            if not stat.S_ISDIR(mode):
                if not stat.S_ISREG(mode) or not os.access(path, os.R_OK):
                    problems.append(FileProblem(path, "not a readable file. Repair or remove it"))
                elif path.name.lower().endswith(ENDINGS) and (flats or not is_other_product(path)):
                    files.setdefault(real, path)
            elif real not in visited and path != folder and os.path.commonpath([real, root]) == real:
                problems.append(FileProblem(path, "link to a folder above the searched one. Remove it"))
            elif real not in visited:
                visited.add(real)
                for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
                    is_link, is_fits = entry.is_symlink(), entry.name.lower().endswith(ENDINGS)
                    if not entry.name.startswith(".") and (is_link or is_fits or entry.is_dir()):
                        target = os.path.realpath(entry) if is_link else os.path.join(real, entry.name)
                        (links if is_link else pending).append((path / entry.name, target))
        except OSError as error:
            problems.append(FileProblem(path, f"cannot be read ({error.strerror}). Repair or remove it"))
    return sorted(files.values()), sorted(problems, key=lambda one: one.path)


def is_reference(path: Path) -> bool:
    """Return whether a file name is that of a flat."""
    return base_name(path).endswith(FLAT_ENDINGS)


def is_other_product(path: Path) -> bool:
    """Return whether a file name is that of neither an exposure nor a difference image."""
    return base_name(path).endswith(FLAT_ENDINGS + OTHER_PRODUCTS)


def base_name(path: Path) -> str:
    """Return the lower-case file name without .gz or .fz."""
    return path.name.lower().removesuffix(".gz").removesuffix(".fz")
