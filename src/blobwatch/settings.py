"""Settings of differencing and monitoring, with the defaults that travel with the package.

The defaults equal the sections ``difference`` and ``monitor`` of ``params.yaml`` (a test compares them).
Bounds are declared with `annotated_types`, so that prediction does not import pydantic, which enforces them
when it reads a file.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]
STRICT = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


@dataclass(frozen=True)
class QualitySettings:
    """Limits of exposure quality.

    Attributes
    ----------
    sigmas : float
        Largest deviation from the recent season, in robust scatters. Beyond it, an exposure is an outlier.
    references : int
        Number of recent exposures whose median is the reference of an exposure.
    light : float
        Smallest median signal, electrons per pixel. Below it, read noise hides a typical blob.
    flagged, saturated : float
        Largest usable share of flagged and of saturated light-sensitive pixels.
    truncated : float
        Smallest share of the season's exposure time and light. Below it, an exposure is a truncated ramp.
    target : str
        Text that TARGNAME must contain; empty accepts every target.
    suspect : float
        Largest plausible share of rejected exposures. Above it, the limits may be wrong.
    """

    __pydantic_config__: ClassVar[dict] = STRICT
    sigmas: Positive = 6.0
    references: Annotated[int, Ge(3)] = 7
    light: Positive = 500.0
    flagged: Share = 0.5
    saturated: Share = 0.5
    truncated: Share = 0.5
    target: str = "EARTH"
    suspect: Share = 0.3334


@dataclass(frozen=True)
class DifferenceSettings:
    """How exposures are stacked and differenced.

    Attributes
    ----------
    days : float
        Trailing window of the median stack.
    minimum : int
        Smallest number of exposures in a stack.
    box : int
        Side of the boxes whose medians define the large-scale glow, pixels.
    quality : QualitySettings
    """

    __pydantic_config__: ClassVar[dict] = STRICT
    days: Positive = 30.0
    minimum: Annotated[int, Ge(2)] = 3
    box: Literal[16, 32, 64, 128] = 64
    quality: QualitySettings = field(default_factory=QualitySettings)


@dataclass(frozen=True)
class MonitorSettings:
    """How the monitor confirms and dates blobs.

    Attributes
    ----------
    detections : int
        Number of exposures that must show a blob before it is confirmed.
    expiry : float
        Days without a detection after which a candidate expires.
    lookback : float
        Days before the first detection that are searched for the onset.
    incomplete : float
        Seconds since the last change during which an unreadable file counts as incomplete.
    """

    __pydantic_config__: ClassVar[dict] = STRICT
    detections: Annotated[int, Ge(1)] = 2
    expiry: Positive = 30.0
    lookback: Positive = 60.0
    incomplete: Annotated[float, Ge(0)] = 60.0


@dataclass(frozen=True)
class Settings:
    """Settings of ``predict``, ``scan`` and ``monitor``."""

    __pydantic_config__: ClassVar[dict] = STRICT
    difference: DifferenceSettings = field(default_factory=DifferenceSettings)
    monitor: MonitorSettings = field(default_factory=MonitorSettings)


def load_settings(path: Path | str | None = None) -> Settings:
    """Return the settings of a file such as ``params.yaml``, or the defaults.

    Parameters
    ----------
    path : Path, str or None

    Raises
    ------
    BlobwatchError
        If the file is missing or not YAML, or a key is unknown or of the wrong type.
    """
    if path is None:
        return Settings()
    from blobwatch.params import read_settings  # pydantic takes time to import

    return read_settings(path)
