"""Drift: whether the newest exposures differ from those that trained the model."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.database import Session
from blobwatch.monitor.ledger.queries import list_statistics, newest_judged
from blobwatch.monitor.ledger.rows import format_value
from blobwatch.monitor.ledger.tables import Exposure, Model
from blobwatch.monitor.statistics import STATISTICS

REFERENCE = "reports/reference/reference.json"


@dataclass(frozen=True)
class Reference:
    """Statistics of the exposures that trained a model, written by the stage ``reference``.

    Attributes
    ----------
    model : str
        The sha256 of the model.
    together : int
        Number of the newest exposures that are averaged.
    ranges : dict
        ``mean``, ``low`` and ``high`` of each statistic. Nearly all means of ``together`` training exposures
        lie between ``low`` and ``high``.
    """

    model: str
    together: int
    ranges: dict[str, dict[str, float]]

    def is_outside(self, name: str, mean: float) -> bool:
        """Return whether a mean is outside the range of its statistic."""
        return not self.ranges[name]["low"] <= mean <= self.ranges[name]["high"]


def read_reference(path: Path | None = None) -> Reference | None:
    """Return the reference of the current project, or else of the package.

    Raises
    ------
    BlobwatchError
        If it is damaged.
    """
    package = Path(__file__).parents[1]
    default = [Path(REFERENCE), package / "reference.json", package.parents[1] / REFERENCE]
    found = next((one for one in ([path] if path else default) if one.is_file()), None)
    if found is None:
        return None
    try:
        content = json.loads(found.read_text(encoding="utf-8"))
        ranges = {
            name: {key: float(content["ranges"][name][key]) for key in ("mean", "low", "high")}
            for name in STATISTICS
        }
        if (together := int(content["together"])) < 1:
            raise ValueError(together)
        return Reference(str(content["model"]), together, ranges)
    except (ValueError, KeyError, TypeError):
        raise BlobwatchError(f"{found}: damaged. Restore it, or run `dvc repro reference`") from None


@dataclass(frozen=True)
class MeanStatistic:
    """Mean of one statistic over the newest exposures, with the error of the mean."""

    name: str
    mean: float
    error: float


def mean_statistics(
    session: Session, model: Model, together: int, before: float | None = None
) -> list[MeanStatistic]:
    """Return the mean statistics of the newest exposures that a model analyzed.

    Parameters
    ----------
    session : Session
    model : Model
    together : int
        Number of exposures. The result is empty if there are fewer.
    before : float, optional
        MJD; use only exposures taken earlier.
    """
    values = list_statistics(session, model, together, before)[:, 1:]
    if len(values) < together:
        return []
    errors = values.std(axis=0, ddof=min(1, together - 1)) / np.sqrt(together)
    means = zip(STATISTICS, values.mean(axis=0).tolist(), errors.tolist(), strict=True)
    return [MeanStatistic(*one) for one in means if np.isfinite(one[1])]


def find_drift(
    session: Session, model: Model, reference: Reference | None, before: float | None = None
) -> list[MeanStatistic]:
    """Return the mean statistics that are outside the range of the training data.

    The result is empty without a reference of the model.
    """
    if reference is None or reference.model != model.sha256:
        return []
    means = mean_statistics(session, model, reference.together, before)
    return [one for one in means if reference.is_outside(one.name, one.mean)]


def new_drift(session: Session, exposure: Exposure, reference: Reference | None) -> dict[str, str]:
    """Return a message for each statistic that left its range with this exposure.

    The result is empty without a reference, or if this is not the newest exposure.
    """
    newest = newest_judged(session)
    if reference is None or newest is None or newest.id != exposure.id:
        return {}
    earlier = {one.name for one in find_drift(session, exposure.model, reference, exposure.expstart)}
    current = find_drift(session, exposure.model, reference)
    return {one.name: describe_drift(one, reference) for one in current if one.name not in earlier}


def describe_drift(one: MeanStatistic, reference: Reference) -> str:
    """Return the message about a statistic outside its range."""
    known, value = reference.ranges[one.name], format_value(one.mean, one.error)
    return (
        f"{STATISTICS[one.name]}: {value} over the last {reference.together} exposures, "
        f"outside {known['low']:.4g} to {known['high']:.4g} of the training data (mean {known['mean']:.4g})"
    )
