"""FITS files below a folder: nested folders are searched, links followed, problems reported."""

import os
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class SearchResult:
    """Sorted FITS files below a folder, and the problems of the search."""

    paths: list[Path]
    problems: list[FileProblem]


def find_image_files(folder: Path | str) -> SearchResult:
    """Search a folder and the folders below it for exposures and difference images.

    Reference files and other products of the archive are recognized by their names.

    Links are followed, and each file is found once. Hidden files and folders are skipped: transfers
    that are still in progress have such names.

    Parameters
    ----------
    folder : Path or str

    Raises
    ------
    BlobwatchError
        If the folder is absent.
    """
    found = find_fits_files(folder)
    return replace(found, paths=[path for path in found.paths if not is_other_product(path)])


def find_fits_files(folder: Path | str) -> SearchResult:
    """Search a folder for FITS files of any kind; see `find_image_files`."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BlobwatchError(f"{folder}: not a directory. Pass the directory that holds the exposures")
    files: dict[str, Path] = {}  # by the real path
    links, visited, problems = [], set(), []
    root = os.path.realpath(folder)
    folders = [folder]  # linked folders and files come after all real ones, which keep their own paths
    while folders or links:
        path = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(path)
        if not path.is_dir():
            files.setdefault(real, path)
        elif real not in visited and path != folder and os.path.commonpath([real, root]) == real:
            problems.append(FileProblem(path, "link to a folder above the searched one. Remove it"))
        elif real not in visited:
            visited.add(real)
            inside, problem = list_entries(path)
            problems += problem
            for entry, is_folder, is_link in inside:
                if is_link:
                    links.append(entry)
                elif is_folder:
                    folders.append(entry)
                else:
                    files[os.path.join(real, entry.name)] = entry
    return SearchResult(sorted(files.values()), sorted(problems, key=lambda one: one.path))


def list_entries(folder: Path) -> tuple[list[tuple[Path, bool, bool]], list[FileProblem]]:
    """Return the folders and FITS files in a folder (path, is_folder, is_link), and problems."""
    found, problems = [], []
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        return [], [FileProblem(folder, f"cannot be searched ({error.strerror}). Check its permissions")]
    for entry in listed:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:  # for instance a link to itself
            problems.append(FileProblem(path, f"cannot be read ({error.strerror}). Remove or repair it"))
            continue
        dangling = entry.is_symlink() and not path.exists()  # perhaps to a folder of exposures
        if not (is_folder or dangling or entry.name.lower().endswith(ENDINGS)):
            continue
        if is_folder or (is_file and os.access(path, os.R_OK)):
            found.append((path, is_folder, entry.is_symlink()))
        else:
            problems.append(FileProblem(path, describe_problem(path, is_file)))
    return found, problems


def describe_problem(path: Path, is_file: bool) -> str:
    """Return why a directory entry cannot be used as a file."""
    if is_file:
        return "cannot be read. Check its permissions"
    if path.is_symlink():
        return f"dangling link to {os.readlink(path)}. Restore its target or remove it"
    return "not a regular file. Remove it"


def is_reference(path: Path) -> bool:
    """Return whether a file name is that of a flat."""
    return base_name(path).endswith(FLAT_ENDINGS)


def is_other_product(path: Path) -> bool:
    """Return whether a file name is that of neither an exposure nor a difference image."""
    return base_name(path).endswith(FLAT_ENDINGS + OTHER_PRODUCTS)


def base_name(path: Path) -> str:
    """Return the lower-case file name without .gz or .fz."""
    return path.name.lower().removesuffix(".gz").removesuffix(".fz")
