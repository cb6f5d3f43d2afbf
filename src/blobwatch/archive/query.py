"""Search criteria for the archive, and the files that match them."""

import re
from dataclasses import asdict, dataclass
from datetime import date, timedelta

from blobwatch.errors import BlobwatchError

TARGET = "DARK-EARTH-CALIB"  # of the monitor
PRODUCTS = ("flt", "ima", "raw")
# i, programme, visit, exposure, and how it was read out; the name of an association ends in a digit.
ROOTNAME = re.compile(r"i[a-z0-9]{7}[a-z]")
MJD_ZERO = date(1858, 11, 17)


@dataclass(frozen=True)
class Query:
    """Search criteria.

    Attributes
    ----------
    target, filter : str
        As the archive writes them; empty for any.
    start, end : date or None
        First and last day of the starts of the exposures, UTC; None for no limit.
    proposals, rootnames : tuple of str
        Any of these; empty for all.
    product : str
        ``flt``, ``ima`` or ``raw``.
    """

    target: str = ""
    filter: str = ""
    start: date | None = None
    end: date | None = None
    proposals: tuple[str, ...] = ()
    rootnames: tuple[str, ...] = ()
    product: str = "flt"

    @property
    def is_unlimited(self) -> bool:
        """Return whether only target and filter limit the query.

        Such a query matches years of exposures.
        """
        return not (self.start or self.end or self.proposals or self.rootnames)

    @property
    def mjd_range(self) -> tuple[int, int]:
        """Return the MJD of the first day's start and last day's end."""
        return mjd_of(self.start) if self.start else 0, mjd_of(self.end) + 1 if self.end else 100_000

    def __str__(self) -> str:
        """Return the query as part of a sentence."""
        criteria = [("of", self.target), ("in", self.filter), ("from", self.start), ("to", self.end)]
        criteria += [("programme", ", ".join(self.proposals)), ("rootname", ", ".join(self.rootnames))]
        return " ".join([f"{self.product} files", *(f"{word} {value}" for word, value in criteria if value)])


@dataclass(frozen=True)
class Product:
    """One file of the archive.

    Attributes
    ----------
    rootname, product : str
        For instance ``ich219i8q`` and ``flt``.
    size : int or None
        Bytes, as listed by the archive; None if it lists no size.
    expstart : float
        MJD; for a member of an association, that of the association.
    filter, programme : str
    public : bool
        False during the exclusive access period of the programme.
    """

    rootname: str
    product: str
    size: int | None
    expstart: float
    filter: str
    programme: str
    public: bool

    @property
    def name(self) -> str:
        """Return the file name."""
        return f"{self.rootname}_{self.product}.fits"

    @property
    def uri(self) -> str:
        """Return the identifier of the file in MAST."""
        return f"mast:HST/product/{self.name}"

    def to_row(self) -> dict:
        """Return the file as a row of the manifest, without MD5."""
        row = {key: value for key, value in asdict(self).items() if key != "public"}
        return row | {"uri": self.uri, "date": date_of(self.expstart), "path": self.name}


def parse_query(
    target: str | None = None,
    filter: str | None = None,
    start: str | None = None,
    end: str | None = None,
    proposals: list[str] | None = None,
    rootnames: list[str] | None = None,
    product: str = "flt",
) -> Query:
    """Return the query for the options of the command line.

    Raises
    ------
    BlobwatchError
        If a date, product, proposal or rootname is invalid.
    """
    first, last = parse_day(start, "start"), parse_day(end, "end")
    if first and last and first > last:
        raise BlobwatchError(f"--start {start} is after --end {end}. Swap them")
    if product.lower() not in PRODUCTS:
        raise BlobwatchError(f"--product {product}: unknown product. Pass one of {', '.join(PRODUCTS)}")
    programmes = tuple(one.strip().lstrip("0") for one in proposals or [])
    for one in programmes:
        if not one.isdecimal():
            raise BlobwatchError(f"--proposal {one}: not a programme number. Pass a number such as 14389")
    names = tuple(one.strip().lower() for one in rootnames or [])
    for one in names:
        if not ROOTNAME.fullmatch(one):
            raise BlobwatchError(
                f"--rootname {one}: not the rootname of a WFC3 exposure. Pass a name such as ich219i8q"
            )
    # A programme or a rootname selects exposures of any target.
    name = (target or "").strip().upper() or ("" if programmes or names else TARGET)
    return Query(name, (filter or "").strip().upper(), first, last, programmes, names, product.lower())


def parse_day(text: str | None, option: str) -> date | None:
    """Return a day given as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise BlobwatchError(f"--{option} {text}: not a date. Pass a date such as 2016-01-31") from None


def mjd_of(day: date) -> int:
    """Return the MJD of the start of a day."""
    return (day - MJD_ZERO).days


def date_of(mjd: float) -> str:
    """Return the day of an MJD as YYYY-MM-DD."""
    return str(MJD_ZERO + timedelta(days=int(mjd)))
