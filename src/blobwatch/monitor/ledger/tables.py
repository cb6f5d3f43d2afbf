"""Tables of the ledger. Each result names its model; times of exposures are MJD, times of actions are UTC."""

from sqlalchemy import ForeignKey, LargeBinary, String, Text, UniqueConstraint, false
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

JUDGED, NO_STACK, UNFIT = "judged", "no stack", "unfit"  # what became of an exposure
CANDIDATE, CONFIRMED, REJECTED = "candidate", "confirmed", "rejected"  # what a blob is
PENDING, SENDING, SENT = "pending", "sending", "sent"  # how far a notice is


class Table(DeclarativeBase):
    """What all tables share."""


class MadeBy:
    """A row that names the model behind it."""

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))

    @declared_attr
    def model(cls) -> Mapped["Model"]:
        """The model."""
        return relationship("Model", lazy="joined")


class Measured:
    """A row with a place in pixels of the 1024 frame, and what was measured there."""

    x: Mapped[float]
    y: Mapped[float]
    radius: Mapped[float]
    depth: Mapped[float]
    snr: Mapped[float]
    probability: Mapped[float]


class Model(Table):
    """A model that judged: its version in the registry, and the hashes of its file and of its inputs."""

    __tablename__ = "models"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int | None]
    sha256: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[str] = mapped_column(String(64))
    threshold: Mapped[float]


class Calibrated:
    """Columns of the calibration of a file; ``flats`` is the key of exposures that can be combined."""

    flatcorr: Mapped[str] = mapped_column(String(16), default="", server_default="")
    pflt: Mapped[str] = mapped_column(String(64), default="", server_default="")
    dflt: Mapped[str] = mapped_column(String(64), default="", server_default="")
    lflt: Mapped[str] = mapped_column(String(64), default="", server_default="")
    cal_ver: Mapped[str] = mapped_column(String(64), default="", server_default="")
    cal_date: Mapped[str] = mapped_column(String(64), default="", server_default="")
    flats: Mapped[str] = mapped_column(String(200), default="", server_default="")


class Exposure(MadeBy, Calibrated, Table):
    """One exposure: its file, calibration, quality, and the probabilities of its sixteen subframes.

    ``stack`` has the rootnames of its median stack; ``probabilities`` sixteen figures, row-major from the
    bottom row; the measures are those of `Quality`, whose noise is ``own_noise`` here, and of `Traits`.
    ``inputs`` is the hash of the files and verdicts that the result depends on; empty where unknown.
    ``due`` is why the exposure must be analyzed again; empty where the result is up to date.
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


class OldResult(MadeBy, Calibrated, Table):
    """An earlier result of an exposure, kept when a newer one replaced it.

    ``found`` is a JSON list of the blobs that were found (x, y, radius, probability, snr, depth).
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

    ``written`` is whether it is in the table ``overrules.csv`` of the project.
    """

    __tablename__ = "overrules"
    id: Mapped[int] = mapped_column(primary_key=True)
    rootname: Mapped[str] = mapped_column(String(64), index=True)
    verdict: Mapped[str] = mapped_column(String(16))
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str] = mapped_column(Text)
    written: Mapped[bool] = mapped_column(default=False)


class Blob(MadeBy, Measured, Table):
    """A blob: the measures of its best detection, and the exposures between which it appeared.

    ``before`` is the last exposure without it, ``first`` the first with it, ``last`` the last that shows it.
    ``halfway`` is the missing light, fraction of the background, above which an exposure shows it.
    ``unannounced`` marks a newly confirmed blob for which no notice is written yet.
    A blob without detections is withdrawn: it was reviewed or announced, and no exposure shows it any more.
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


class Detection(MadeBy, Measured, Table):
    """What the model found at a blob's place in one exposure, with its pictures (PNG, 96 x 96)."""

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


class Light(Table):
    """One point of a blob's light curve: the missing light as a fraction of the background, and its error.

    Measured at the place of the blob's first detection, in exposures of the same filter and flats.
    The error is empty where no pixel there is usable.
    """

    __tablename__ = "light"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - lies in the order in which it is read
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"), primary_key=True)
    exposure_id: Mapped[int] = mapped_column(ForeignKey("exposures.id"), primary_key=True)
    depth: Mapped[float]
    error: Mapped[float | None]
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))


class Review(MadeBy, Table):
    """What a person said of a blob; the model is the one that the blob was found with.

    ``labelled`` tells that it has become a label in ``data/labels``, ``told`` that a monitor knows of it.
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


class Notice(MadeBy, Table):
    """One message to one channel: of a blob, or of a trait that left the range of the training data.

    ``channel`` is the hash of the channel's address, which may hold a password; ``shown`` its masked form.
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
    """Who may review on the page: a name, and the hash of the token that proves it."""

    __tablename__ = "reviewers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    since: Mapped[str] = mapped_column(String(32))
