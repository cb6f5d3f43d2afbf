"""Drift: are the newest exposures, and what the model says of them, still like those that trained it?"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.monitor.ledger.database import Session
from blobwatch.monitor.ledger.queries import newest_judged, newest_traits
from blobwatch.monitor.ledger.rows import with_error
from blobwatch.monitor.ledger.tables import Exposure, Model
from blobwatch.monitor.traits import WORDS

REFERENCE = "reports/reference/reference.json"


@dataclass(frozen=True)
class Reference:
    """The traits of the exposures that trained a model, as the stage ``reference`` wrote them.

    Attributes
    ----------
    model : str
        The sha256 of the model.
    together : int
        How many of the newest exposures are compared at a time.
    ranges : dict
        Of each trait ``mean``, ``low``, ``high``: between the last two lie nearly all means of so many
        training exposures.
    """

    model: str
    together: int
    ranges: dict[str, dict[str, float]]

    def outside(self, name: str, mean: float) -> bool:
        """Tell whether a mean lies outside the range of its trait."""
        return not self.ranges[name]["low"] <= mean <= self.ranges[name]["high"]


def read_reference(path: Path | None = None) -> Reference | None:
    """Return the reference of the project in which one stands, or the one that came with the package.

    Raises
    ------
    BlobwatchError
        If it is damaged.
    """
    own = (
        Path(REFERENCE),
        Path(__file__).parents[1] / "reference.json",
        Path(__file__).parents[3] / REFERENCE,
    )
    found = next((place for place in ([path] if path else own) if place.is_file()), None)
    if found is None:
        return None
    try:
        content = json.loads(found.read_text(encoding="utf-8"))
        ranges = {
            name: {key: float(content["ranges"][name][key]) for key in ("mean", "low", "high")}
            for name in WORDS
        }
        if (together := int(content["together"])) < 1:
            raise ValueError(together)
        return Reference(str(content["model"]), together, ranges)
    except (ValueError, KeyError, TypeError):
        raise BlobwatchError(f"{found} is damaged; restore it, or run `dvc repro reference`") from None


@dataclass(frozen=True)
class Drift:
    """One trait of the newest exposures.

    Attributes
    ----------
    name : str
    mean, error : float
        Of the newest exposures; the error is that of the mean.
    """

    name: str
    mean: float
    error: float


def newest_means(session: Session, model: Model, together: int, before: float | None = None) -> list[Drift]:
    """Return the mean traits of the newest exposures that a model judged; of too few there are none.

    Parameters
    ----------
    session : Session
    model : Model
    together : int
        How many.
    before : float, optional
        MJD; of those that were taken earlier.
    """
    values = newest_traits(session, model, WORDS, together, before)
    if len(values) < together:
        return []
    errors = values.std(axis=0, ddof=min(1, together - 1)) / np.sqrt(together)
    means = zip(WORDS, values.mean(axis=0).tolist(), errors.tolist(), strict=True)
    return [Drift(*one) for one in means if np.isfinite(one[1])]


def outside(
    session: Session, model: Model, reference: Reference | None, before: float | None = None
) -> list[Drift]:
    """Return the traits of the newest exposures, as `newest_means`, that have left the training data's range.

    None without a reference of the model.
    """
    if reference is None or reference.model != model.sha256:
        return []
    means = newest_means(session, model, reference.together, before)
    return [one for one in means if reference.outside(one.name, one.mean)]


def begun(session: Session, exposure: Exposure, reference: Reference | None) -> dict[str, str]:
    """Return the traits that have left their range with an exposure, the newest, each with its sentence."""
    newest = newest_judged(session)
    if newest is None or newest.id != exposure.id:
        return {}
    earlier = {one.name for one in outside(session, exposure.model, reference, exposure.expstart)}
    now = outside(session, exposure.model, reference)
    return {one.name: sentence(one, reference) for one in now if one.name not in earlier}


def sentence(one: Drift, reference: Reference) -> str:
    """Return what is to be said of a trait outside its range."""
    known = reference.ranges[one.name]
    return (
        f"{WORDS[one.name]}: {with_error(one.mean, one.error)} over the last {reference.together} exposures, "
        f"outside {known['low']:.4g} to {known['high']:.4g} of the training data (mean {known['mean']:.4g})"
    )
