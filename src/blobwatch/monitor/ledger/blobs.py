"""Update of the blobs of a ledger with the detections in one exposure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, undefer

from blobwatch.monitor.ledger.association import Cluster, Find, associate, identify
from blobwatch.monitor.ledger.lightcurves import LightCurves
from blobwatch.monitor.ledger.onset import MEASURES, shows, update_blob
from blobwatch.monitor.ledger.tables import (
    CANDIDATE,
    CONFIRMED,
    REJECTED,
    UNFIT,
    Blob,
    Detection,
    Exposure,
    LightCurvePoint,
    Model,
    Notice,
    Review,
)
from blobwatch.settings import Settings

PICTURES = ("before", "after", "difference")
Cutouts = dict[tuple[float, float], dict[str, bytes]]  # PNG pictures by the place of a detection


@dataclass(frozen=True)
class IngestResult:
    """Changes of a ledger by the ingest of an exposure.

    Attributes
    ----------
    exposure : Exposure
    found, new, confirmed : list of Blob
        Blobs found in the exposure, new blobs, and newly confirmed blobs.
    why : str
        Reason of a new analysis; empty for a new exposure.
    unreadable : tuple of str
        Exposures missing from light curves, since their files are missing.
    withdrawn : tuple of int
        Blobs that no exposure shows any more.
    """

    exposure: Exposure
    found: list[Blob]
    new: list[Blob]
    confirmed: list[Blob]
    why: str = ""
    unreadable: tuple[str, ...] = ()
    withdrawn: tuple[int, ...] = ()


class BlobUpdate:
    """The blobs of a ledger during the ingest of one exposure.

    Parameters
    ----------
    session : Session
    curves : LightCurves
    settings : Settings
    exposure : Exposure
    model : Model
    changed : bool
        Whether the image of the exposure or its acceptance changed.
    is_first : bool
        Whether the exposure is new in the ledger.
    """

    def __init__(
        self,
        session: Session,
        curves: LightCurves,
        settings: Settings,
        exposure: Exposure,
        model: Model,
        changed: bool,
        is_first: bool,
    ):
        self.session, self.curves, self.settings = session, curves, settings.monitor
        self.days = settings.difference.days
        self.exposure, self.model, self.changed = exposure, model, changed
        query = select(Blob).order_by(Blob.id).with_for_update(of=Blob)
        self.rows = {one.id: one for one in session.scalars(query)}
        newest = session.scalar(select(func.max(Exposure.expstart)).where(Exposure.id != exposure.id))
        self.is_newest = is_first and (newest is None or exposure.expstart > newest)

    def run(self, before: Sequence[Find], here: Sequence[Find], cutouts: Cutouts) -> IngestResult:
        """Assign all detections to blobs, and update the blobs that changed.

        Parameters
        ----------
        before : sequence of Find
            All detections before the ingest.
        here : sequence of Find
            The detections in the exposure now.
        cutouts : dict
            Pictures of ``here``.
        """
        others = [one for one in before if one.exposure_id != self.exposure.id]
        reviewed = set(self.session.scalars(select(Review.blob_id).distinct()))
        clusters = associate([*others, *here], reviewed, self.curves.has_expired)
        owners = identify(clusters, {number: (blob.x, blob.y) for number, blob in self.rows.items()})
        of_blob = self.assign(clusters, owners)
        pairs = [(number, one) for number, cluster in of_blob.items() for one in cluster]
        found = [(number, one) for number, one in pairs if one.exposure_id == self.exposure.id]
        found.sort(key=lambda pair: pair[1].order)
        self.move_detections(pairs)
        self.insert_detections(found, cutouts)
        old: dict[int | None, list[Find]] = {}
        for one in sorted(before, key=lambda one: one.order):
            old.setdefault(one.blob_id, []).append(one)
        confirmed, new = [], []
        for number, cluster in of_blob.items():
            blob, earlier = self.rows[number], old.get(number, [])
            was = blob.status
            self.update(blob, cluster, earlier)
            new += [] if earlier or blob.reviews else [blob]
            confirmed += [blob] if blob.status == CONFIRMED != was else []
        for blob in confirmed:
            blob.unannounced = not blob.reviews
        gone = [number for number in self.rows if number in old and number not in of_blob]
        self.withdraw(gone)
        self.session.flush()
        shown = [self.rows[number] for number, _ in found]
        return IngestResult(self.exposure, shown, new, confirmed, withdrawn=tuple(gone))

    def assign(self, clusters: list[Cluster], owners: list[int | None]) -> dict[int, Cluster]:
        """Return the cluster of each blob; create new blobs."""
        assigned = {}
        for cluster, owner in zip(clusters, owners, strict=True):
            if owner is None:
                first = self.session.get_one(Exposure, cluster[0].exposure_id)
                blob = Blob(status=CANDIDATE, first=first, last=first, model=self.model)
                for name in MEASURES:
                    setattr(blob, name, getattr(cluster[0], name))
                self.session.add(blob)
                self.session.flush()
                self.rows[blob.id], owner = blob, blob.id
            assigned[owner] = cluster
        return assigned

    def move_detections(self, pairs: Iterable[tuple[int, Find]]) -> None:
        """Move stored detections to their new blobs."""
        stored = [(number, one) for number, one in pairs if one.detection_id is not None]
        moved = {one.detection_id: number for number, one in stored if one.blob_id != number}
        if not moved:
            return
        # As copies, since two detections in one exposure may swap their blobs.
        query = select(Detection).where(Detection.id.in_(moved)).order_by(Detection.id)
        query = query.options(*(undefer(getattr(Detection, name)) for name in PICTURES))
        rows = list(self.session.scalars(query.execution_options(populate_existing=True)))
        names = ("exposure_id", "model_id", *MEASURES, *PICTURES)
        copies = [{"blob_id": moved[one.id]} | {name: getattr(one, name) for name in names} for one in rows]
        for one in rows:
            self.session.expunge(one)
        self.session.execute(delete(Detection).where(Detection.id.in_(moved)))
        self.session.add_all(Detection(**values) for values in copies)
        self.session.flush()

    def insert_detections(self, found: Iterable[tuple[int, Find]], cutouts: Cutouts) -> None:
        """Insert the detections of the exposure."""
        for number, find in found:
            measures = {name: getattr(find, name) for name in MEASURES}
            row = Detection(blob_id=number, exposure_id=self.exposure.id, model_id=self.model.id)
            for name, value in (measures | cutouts[find.x, find.y]).items():
                setattr(row, name, value)
            self.session.add(row)
        self.session.flush()
        for blob in self.rows.values():
            self.session.expire(blob, ["detections"])

    def update(self, blob: Blob, cluster: Cluster, earlier: list[Find]) -> None:
        """Update a blob if its detections or its light curve changed."""
        places, old = [one.place for one in cluster], [one.place for one in earlier]
        is_same = [one.measures for one in cluster] == [one.measures for one in earlier]
        if is_same and not (self.changed and self.is_in_curve(blob, cluster)):
            return
        confirmed = self.curves.is_confirmed(cluster)
        is_later = confirmed and self.exposure.expstart > cluster[-1].expstart
        if is_same and (self.is_newest or is_later) and self.extend(blob, cluster[0]):
            return
        best = max(cluster, key=lambda one: one.snr)
        for name in MEASURES:
            setattr(blob, name, getattr(best, name))
        if best.exposure_id == self.exposure.id:
            blob.model = self.model
        if confirmed and places[:1] == old[:1] and self.curves.is_confirmed(earlier):
            self.store_point(blob, cluster[0])
        else:
            self.curves.store(blob, self.curves.curve(cluster), self.model.id)
        update_blob(self.session, blob, cluster, self.settings)

    def is_in_curve(self, blob: Blob, cluster: Cluster) -> bool:
        """Return whether the exposure is, or was, in the light curve of a blob."""
        if not self.is_newest and self.session.get(LightCurvePoint, (blob.id, self.exposure.id)) is not None:
            return True
        if not self.is_comparable(cluster[0]):
            return False
        until = blob.last.expstart + self.settings.expiry
        return self.curves.is_confirmed(cluster) or self.exposure.expstart <= until

    def is_comparable(self, first: Find) -> bool:
        """Return whether an exposure can be in a light curve.

        It must be accepted, have the filter and flats of the first detection, and not be too long before it.
        """
        own, one = self.exposure, self.session.get_one(Exposure, first.exposure_id)
        is_alike = own.outcome != UNFIT and (own.filter, own.flats) == (one.filter, one.flats)
        return is_alike and own.expstart >= first.expstart - self.days

    def extend(self, blob: Blob, first: Find) -> bool:
        """Store the point of an exposure; return whether the blob is complete.

        The exposure is after all detections of the blob.
        """
        point = self.store_point(blob, first)
        if point is not None and shows(blob.halfway, *point):
            later = [blob.last, self.exposure]
            blob.last = max(later, key=lambda one: (one.expstart, one.rootname))
            return True
        return blob.last_id != self.exposure.id

    def store_point(self, blob: Blob, first: Find) -> tuple[float, float | None] | None:
        """Store the light curve point of the exposure; delete it if no longer comparable."""
        key = {"blob_id": blob.id, "exposure_id": self.exposure.id}
        stored = None if self.is_newest else self.session.get(LightCurvePoint, (blob.id, self.exposure.id))
        if not self.is_comparable(first):
            point = None
        elif stored is not None and not self.changed:
            return stored.depth, stored.error
        else:
            point = self.curves.measure(first, self.exposure.id)
        if stored is not None:
            self.session.delete(stored)
            self.session.flush()
        if point is not None:
            self.session.add(LightCurvePoint(**key, depth=point[0], error=point[1], model_id=self.model.id))
            if not self.is_newest:
                self.session.flush()
        return point

    def withdraw(self, numbers: Iterable[int]) -> None:
        """Delete blobs that no exposure shows any more; keep reviewed and announced ones."""
        for number in numbers:
            blob = self.rows[number]
            self.session.execute(delete(LightCurvePoint).where(LightCurvePoint.blob_id == number))
            announced = self.session.scalar(select(func.count()).where(Notice.blob_id == number))
            blob.unannounced, blob.halfway = False, None
            if blob.reviews:
                blob.status = blob.reviews[-1].verdict
            elif announced:
                blob.status = REJECTED
            else:
                self.session.delete(blob)
        self.session.flush()
