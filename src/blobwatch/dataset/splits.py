"""Splits by time: no exposure is in two splits, neither itself nor in a stack."""

from dataclasses import dataclass
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import read_table

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Source:
    """One difference image in the index of the ``difference`` stage."""

    rootname: str
    expstart: float
    path: Path
    stack: tuple[str, ...]
    stack_times: tuple[float, ...]

    @property
    def earliest(self) -> float:
        """Return the earliest time (MJD) of the exposure and its stack."""
        return min((self.expstart, *self.stack_times))


def read_sources(folder: Path) -> list[Source]:
    """Return the difference images of a folder, sorted by time."""
    index = folder / "index.csv"
    if not index.is_file():
        raise BlobwatchError(f"{index}: file not found. Run `blobwatch difference` first")
    rows = read_table(index)
    times = {row["rootname"]: float(row["expstart"]) for row in rows}
    return [
        Source(
            row["rootname"],
            times[row["rootname"]],
            folder / row["path"],
            tuple(row["stack"].split()),
            tuple(times[name] for name in row["stack"].split()),
        )
        for row in rows
        if row["path"]
    ]


def split_by_time(sources: list[Source], shares: tuple[float, float]) -> dict[str, list[Source]]:
    """Split the difference images into three time spans.

    Difference images whose stack begins in an earlier span are dropped.

    Parameters
    ----------
    sources : list of Source
    shares : (float, float)
        Shares of the season's days for train and val; test gets the rest.

    Raises
    ------
    BlobwatchError
        If a split is empty.
    """
    first = min(source.earliest for source in sources)
    last = max(source.expstart for source in sources)
    fractions = [0.0, shares[0], shares[0] + shares[1], 1.0]
    bounds = [first + fraction * (last - first) for fraction in fractions]
    bounds[-1] += 1.0  # the last exposure belongs to test
    splits = {
        name: [s for s in sources if bounds[i] <= s.earliest and s.expstart < bounds[i + 1]]
        for i, name in enumerate(SPLITS)
    }
    for name, members in splits.items():
        if not members:
            raise BlobwatchError(
                f"no difference image lies inside the span of {name} with its whole stack. "
                "Add exposures or change subframes.shares"
            )
    return splits


def list_split_exposures(differences: Path, exposures: Path, splits: dict[str, list[Source]]) -> list[dict]:
    """Return the raw exposures used by a split, sorted by time.

    An exposure is used if it has a difference image in a split or is in the stack of one.

    Parameters
    ----------
    differences, exposures : Path
        Output and input folder of the ``difference`` stage.
    splits : dict
        Result of `split_by_time`.

    Returns
    -------
    list of dict
        ``rootname``, ``role`` (train, val or test), ``path``, ``md5`` at the time of differencing,
        ``expstart`` (MJD), ``filter``, ``programme``.
    """
    roles = {
        name: split
        for split, sources in splits.items()
        for source in sources
        for name in (source.rootname, *source.stack)
    }
    return [
        {"rootname": row["rootname"], "role": roles[row["rootname"]]}
        | {"path": (exposures / row["exposure"]).as_posix()}
        | {key: row[key] for key in ("md5", "expstart", "filter", "programme")}
        for row in read_table(differences / "index.csv")
        if row["rootname"] in roles
    ]
