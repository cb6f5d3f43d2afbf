"""Tables of the ledger.

Each result references its model. Times of exposures are MJD, times of actions are UTC.
"""

from sqlalchemy import ForeignKey, LargeBinary, String, Text, UniqueConstraint, false
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

JUDGED, NO_STACK, UNFIT = "judged", "no stack", "unfit"  # outcomes of an exposure
CANDIDATE, CONFIRMED, REJECTED = "candidate", "confirmed", "rejected"  # statuses of a blob
PENDING, SENDING, SENT = "pending", "sending", "sent"  # states of a notice


class Table(DeclarativeBase):
    """Base of all tables."""


class HasModel:
    """A row that references the model of its result."""

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))

    @declared_attr
    def model(cls) -> Mapped["Model"]:
        """Return the relationship to the model."""
        return relationship("Model", lazy="joined")


class HasMeasures:
    """A row with a position (pixels of the 1024 frame) and its measures."""

    x: Mapped[float]
    y: Mapped[float]
    radius: Mapped[float]
    depth: Mapped[float]
    snr: Mapped[float]
    probability: Mapped[float]


class Model(Table):
    """A model: its registered version and the hashes of its file and inputs."""

    __tablename__ = "models"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int | None]
    sha256: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[str] = mapped_column(String(64))
    threshold: Mapped[float]


class HasCalibration:
    """Columns of the calibration; exposures with equal ``flats`` can be combined."""

    flatcorr: Mapped[str] = mapped_column(String(16), default="", server_default="")
    pflt: Mapped[str] = mapped_column(String(64), default="", server_default="")
    dflt: Mapped[str] = mapped_column(String(64), default="", server_default="")
    lflt: Mapped[str] = mapped_column(String(64), default="", server_default="")
    cal_ver: Mapped[str] = mapped_column(String(64), default="", server_default="")
    cal_date: Mapped[str] = mapped_column(String(64), default="", server_default="")
    flats: Mapped[str] = mapped_column(String(200), default="", server_default="")


class Exposure(HasModel, HasCalibration, Table):
    """One exposure: its file, calibration, quality, and the probabilities of its sixteen subframes.

    ``stack`` lists the rootnames of its median stack. ``probabilities`` has sixteen values, row-major from
    the bottom row. The measures are those of `Quality` (its ``noise`` is ``own_noise`` here) and of
    `measure_statistics`. ``inputs`` is the hash of the files and verdicts that the result depends on; empty
    if unknown. ``due`` is the reason for another analysis; empty if the result is up to date.
    """

    __tablename__ = "exposures"
    id: Mapped[int] = mapped_column(primary_key=True)
    rootname: Mapped[str] = mapped_column(String(64), unique=True)
    path: Mapped[str] = mapped_column(Text)
    stamp: Mapped[str] = mapped_column(String(64))
    md5: Mapped[str] = mapped_column(String(32))
    expstart: Mapped[float] = mapped_column(index=True)
    filter: Mapped[str] = mapped_column(String(16))
    programme: Mapped[str] = mapped_column(String(16))
    samp_seq: Mapped[str] = mapped_column(String(16), default="", server_default="")
    product: Mapped[str] = mapped_column(String(8), default="flt", server_default="flt")
    target: Mapped[str] = mapped_column(String(64), default="", server_default="")
    outcome: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text, default="")
    light: Mapped[float | None]
    saturated: Mapped[float | None]
    exptime: Mapped[float | None]
    residual: Mapped[float | None]
    sources: Mapped[float | None]
    banding: Mapped[float | None]
    gradient: Mapped[float | None]
    streaks: Mapped[float | None]
    own_noise: Mapped[float | None]
    excess: Mapped[float | None]
    flagged: Mapped[float | None]
    noise: Mapped[float | None]
    contaminants: Mapped[float | None]
    score: Mapped[float | None]
    found: Mapped[int | None]
    stack: Mapped[str] = mapped_column(Text, default="")
    probabilities: Mapped[str] = mapped_column(Text, default="")
    judged_at: Mapped[str] = mapped_column(String(32))
    inputs: Mapped[str] = mapped_column(String(64), default="", server_default="")
    due: Mapped[str] = mapped_column(String(100), default="", server_default="", index=True)


class OldResult(HasModel, HasCalibration, Table):
    """An earlier result of an exposure, replaced by a newer one.

    ``found`` is a JSON list of the blobs found (x, y, radius, probability, snr, depth).
    """

    __tablename__ = "exposure_history"
    id: Mapped[int] = mapped_column(primary_key=True)
    exposure_id: Mapped[int] = mapped_column(ForeignKey("exposures.id"), index=True)
    rootname: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(Text)
    md5: Mapped[str] = mapped_column(String(32))
    outcome: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)
    probabilities: Mapped[str] = mapped_column(Text)
    found: Mapped[str] = mapped_column(Text)
    judged_at: Mapped[str] = mapped_column(String(32))
    replaced_at: Mapped[str] = mapped_column(String(32))
    why: Mapped[str] = mapped_column(String(100))


class OverruleRow(Table):
    """A person's decision about an exposure; the newest of a rootname counts.

    ``written`` is true once it is in the project's table ``overrules.csv``.
    """

    __tablename__ = "overrules"
    id: Mapped[int] = mapped_column(primary_key=True)
    rootname: Mapped[str] = mapped_column(String(64), index=True)
    verdict: Mapped[str] = mapped_column(String(16))
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str] = mapped_column(Text)
    written: Mapped[bool] = mapped_column(default=False)


class Blob(HasModel, HasMeasures, Table):
    """A blob: the measures of its best detection, and the exposures between which it appeared.

    ``before`` is the last exposure without it, ``first`` the first with it, ``last`` the last that shows it.
    ``halfway`` is the missing light (fraction of the background) above which an exposure shows it.
    ``unannounced`` marks a newly confirmed blob without a notice.
    A blob without detections is withdrawn: it was reviewed or announced, but no exposure shows it any more.
    """

    __tablename__ = "blobs"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(String(16))
    halfway: Mapped[float | None]
    unannounced: Mapped[bool] = mapped_column(default=False, server_default=false())
    before_id: Mapped[int | None] = mapped_column(ForeignKey("exposures.id"))
    first_id: Mapped[int] = mapped_column(ForeignKey("exposures.id"))
    last_id: Mapped[int] = mapped_column(ForeignKey("exposures.id"))
    before: Mapped[Exposure | None] = relationship(foreign_keys=before_id, lazy="joined")
    first: Mapped[Exposure] = relationship(foreign_keys=first_id, lazy="joined")
    last: Mapped[Exposure] = relationship(foreign_keys=last_id, lazy="joined")
    detections: Mapped[list["Detection"]] = relationship(back_populates="blob")
    reviews: Mapped[list["Review"]] = relationship(back_populates="blob", order_by="Review.id")


class Detection(HasModel, HasMeasures, Table):
    """A detection of a blob in one exposure, with its pictures (PNG, 96 x 96)."""

    __tablename__ = "detections"
    __table_args__ = (UniqueConstraint("blob_id", "exposure_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"))
    exposure_id: Mapped[int] = mapped_column(ForeignKey("exposures.id"), index=True)
    before: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    after: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    difference: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    blob: Mapped[Blob] = relationship(back_populates="detections")
    exposure: Mapped[Exposure] = relationship(lazy="joined")


class LightCurvePoint(Table):
    """One point of a light curve: missing light (fraction of the background) and its error.

    Measured at the place of the blob's first detection, in exposures of the same filter and flats.
    The error is empty if no pixel there is usable.
    """

    __tablename__ = "light"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - rows are stored in reading order
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"), primary_key=True)
    exposure_id: Mapped[int] = mapped_column(ForeignKey("exposures.id"), primary_key=True)
    depth: Mapped[float]
    error: Mapped[float | None]
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))


class Review(HasModel, Table):
    """A person's verdict on a blob; the model is the one that found the blob.

    ``labelled`` is true once it is a label in ``data/labels``, ``told`` once its notices are queued.
    """

    __tablename__ = "reviews"
    id: Mapped[int] = mapped_column(primary_key=True)
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"), index=True)
    verdict: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[str] = mapped_column(String(32))
    labelled: Mapped[bool] = mapped_column(default=False)
    told: Mapped[bool] = mapped_column(default=False)
    blob: Mapped[Blob] = relationship(back_populates="reviews")


class Notice(HasModel, Table):
    """One message to one channel, about a blob or a warning.

    ``channel`` is the hash of the channel's address, which may contain a password. ``shown`` is the redacted
    address.
    """

    __tablename__ = "notices"
    __table_args__ = (UniqueConstraint("subject", "channel"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(100))
    blob_id: Mapped[int | None] = mapped_column(ForeignKey("blobs.id"))
    exposure_id: Mapped[int] = mapped_column(ForeignKey("exposures.id"))
    text: Mapped[str] = mapped_column(Text, default="")
    channel: Mapped[str] = mapped_column(String(64))
    shown: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    tried_at: Mapped[str | None] = mapped_column(String(32))
    error: Mapped[str] = mapped_column(Text, default="")
    blob: Mapped[Blob | None] = relationship()
    exposure: Mapped[Exposure] = relationship()


class Reviewer(Table):
    """A person who may review on the web page: name and hash of the token."""

    __tablename__ = "reviewers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    since: Mapped[str] = mapped_column(String(32))
