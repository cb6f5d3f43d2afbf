"""Association of detections with blobs, independent of their order of arrival."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from blobwatch.images.peaks import SEPARATION


@dataclass(frozen=True)
class Find:
    """One detection in one exposure.

    Attributes
    ----------
    exposure_id : int
    expstart : float
        MJD.
    rootname : str
    x, y, radius : float
        Pixels.
    probability, snr, depth : float
    blob_id : int or None
        Blob to which it belonged before; None for a new detection.
    detection_id : int or None
        Row of the ledger; None where it is not stored yet.
    """

    exposure_id: int
    expstart: float
    rootname: str
    x: float
    y: float
    radius: float
    probability: float
    snr: float
    depth: float
    blob_id: int | None = None
    detection_id: int | None = None

    @property
    def order(self) -> tuple:
        """Return the sort key of detections.

        They are sorted by time and, in an exposure, by descending probability.
        """
        return self.expstart, self.rootname, -self.probability, self.x, self.y

    @property
    def place(self) -> tuple[int, float, float, float]:
        """Return the key of a place at which a light curve is measured."""
        return self.exposure_id, self.x, self.y, self.radius

    @property
    def measures(self) -> tuple[float, ...]:
        """Return the values that must be equal for an unchanged detection."""
        return *self.place, self.probability, self.snr, self.depth


Cluster = list[Find]  # the detections of one blob, in the order of time
HasExpired = Callable[[Sequence[Find], float], bool]


def associate(finds: Sequence[Find], reviewed: set[int], has_expired: HasExpired) -> list[Cluster]:
    """Group detections into blobs.

    In the order of time, each detection joins the nearest blob whose best detection so far is within
    ``SEPARATION`` pixels. Otherwise it starts a new blob. The nearest pairs are matched first, and a blob has
    at most one detection per exposure.

    Parameters
    ----------
    finds : sequence of Find
    reviewed : set of int
        Blobs that a person reviewed. These do not expire, except for detections of another blob.
    has_expired : callable
        Returns whether a cluster was an expired candidate at a time (MJD). A later detection at the same
        place is another blob.

    Returns
    -------
    list of list of Find
        Clusters in the order of their first detections.
    """
    clusters: list[Cluster] = []
    places = np.empty((0, 2))
    ordered = sorted(finds, key=lambda one: one.order)
    for (when, _), group in groupby(ordered, key=lambda one: (one.expstart, one.rootname)):
        here = list(group)
        for find, number in zip(
            here, matches(here, clusters, places, reviewed, has_expired, when), strict=True
        ):
            if number is None:
                clusters.append([find])
                places = np.vstack([places, [find.x, find.y]])
            else:
                clusters[number].append(find)
                best = max(clusters[number], key=lambda one: one.snr)
                places[number] = best.x, best.y
    return clusters


def matches(
    here: list[Find],
    clusters: list[Cluster],
    places: np.ndarray,
    reviewed: set[int],
    has_expired: HasExpired,
    when: float,
) -> list[int | None]:
    """Return the index of the cluster that each detection of an exposure joins, or None."""
    pairs = []
    for index, find in enumerate(here):
        distance = np.hypot(*(places - [find.x, find.y]).T)  # (clusters,)
        for number in np.flatnonzero(distance <= SEPARATION).tolist():
            if may_join(find, clusters[number], reviewed) or not has_expired(clusters[number], when):
                pairs.append((float(distance[number]), index, number))
    return match_pairs(pairs, [None] * len(here))


def match_pairs(pairs: Iterable[tuple[float, int, int]], answer: list[int | None]) -> list[int | None]:
    """Match indices with numbers, cheapest pairs first.

    Each index and each number is used once.
    """
    for _, index, number in sorted(pairs):
        if answer[index] is None and number not in answer:
            answer[index] = number
    return answer


def may_join(find: Find, cluster: Cluster, reviewed: set[int]) -> bool:
    """Return whether a detection can join a cluster that has expired."""
    owner = next((one.blob_id for one in cluster if one.blob_id in reviewed), None)
    return owner is not None and find.blob_id in (None, owner)


def identify(clusters: Sequence[Cluster], known: dict[int, tuple[float, float]]) -> list[int | None]:
    """Return the existing blob of each cluster, so that ids and reviews are kept.

    Parameters
    ----------
    clusters : sequence of Cluster
    known : dict of int to tuple of float
        Place of each existing blob.

    Returns
    -------
    list of int or None
        The blob with the most common detections, else one within ``SEPARATION`` without detections; None
        for a new blob.
    """
    shared = [
        (-sum(one.blob_id == blob for one in cluster), number, blob)
        for number, cluster in enumerate(clusters)
        for blob in set(known) & {one.blob_id for one in cluster}
    ]
    answer = match_pairs(shared, [None] * len(clusters))
    left, near = set(known) - set(answer), []
    for number, cluster in enumerate(clusters):
        if answer[number] is None:
            best = max(cluster, key=lambda one: one.snr)
            for blob in left:
                distance = float(np.hypot(best.x - known[blob][0], best.y - known[blob][1]))
                near += [(distance, number, blob)] if distance <= SEPARATION else []
    return match_pairs(near, answer)
