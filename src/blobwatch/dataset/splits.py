"""Train, validation and test by time: no exposure, and no exposure inside a stack, in two of them."""

from dataclasses import dataclass
from pathlib import Path

from blobwatch.errors import BlobwatchError
from blobwatch.files import read_table

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Source:
    """One difference image, as the index of the ``difference`` stage lists it."""

    rootname: str
    expstart: float
    path: Path
    stack: tuple[str, ...]
    stack_times: tuple[float, ...]

    @property
    def earliest(self) -> float:
        """The earliest moment (MJD) that this difference image knows of."""
        return min((self.expstart, *self.stack_times))


def read_sources(folder: Path) -> list[Source]:
    """Return the difference images of a folder in the order of time."""
    index = folder / "index.csv"
    if not index.is_file():
        raise BlobwatchError(f"{index} does not exist; run `blobwatch difference` first")
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
    """Cut the season into three spans of days and keep what lies in one of them with its whole stack.

    Parameters
    ----------
    sources : list of Source
    shares : (float, float)
        Shares of the season's days for train and val; the rest is for test.

    Raises
    ------
    BlobwatchError
        If a split gets nothing.
    """
    first = min(source.earliest for source in sources)
    last = max(source.expstart for source in sources)
    marks = [0.0, shares[0], shares[0] + shares[1], 1.0]
    bounds = [first + mark * (last - first) for mark in marks]
    bounds[-1] += 1.0  # the last exposure belongs to test
    splits = {
        name: [s for s in sources if bounds[i] <= s.earliest and s.expstart < bounds[i + 1]]
        for i, name in enumerate(SPLITS)
    }
    for name, members in splits.items():
        if not members:
            raise BlobwatchError(
                f"no difference image has its whole stack inside the span of {name}; "
                "add exposures or change subframes.shares"
            )
    return splits


def list_split_exposures(differences: Path, exposures: Path, splits: dict[str, list[Source]]) -> list[dict]:
    """Return the raw exposures that are in a split, itself or in a stack, in the order of time.

    Parameters
    ----------
    differences, exposures : Path
        What the ``difference`` stage wrote, and the folder of exposures that it read.
    splits : dict
        As `split_by_time` gives them: no exposure is in two.

    Returns
    -------
    list of dict
        ``rootname``, ``role`` (train, val or test), ``path``, ``md5`` as it was when its difference image was
        made, ``expstart`` (MJD), ``filter``, ``programme``.
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
