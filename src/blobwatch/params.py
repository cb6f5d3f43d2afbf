"""``params.yaml`` read and checked: one frozen model per section, every key required."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from blobwatch.errors import BlobwatchError
from blobwatch.settings import DifferenceSettings, MonitorSettings, Positive, Settings, Share

NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]
Draws = Annotated[int, Field(ge=100)]
T = TypeVar("T")
UNKNOWN, MISSING = "is not a known key; remove it or correct its name", "is missing; add it"
# By pydantic's type of error; the second one is the same problem in a dataclass.
REASONS = {"extra_forbidden": UNKNOWN, "unexpected_keyword_argument": UNKNOWN, "missing": MISSING}


def check_ascending(pair: tuple) -> tuple:
    """Return a range, whose first value must not exceed the second."""
    if pair[0] > pair[1]:
        raise ValueError("the first value must not be above the second")
    return pair


Ascending = AfterValidator(check_ascending)
Range = Annotated[tuple[Positive, Positive], Ascending]


class Section(BaseModel):
    """A section: unknown keys are errors, and text is not converted to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    """The exposures to use."""

    exposures: str
    filter: str


class Simulate(Section):
    """The simulated season."""

    start: Positive
    days: Positive
    exposures: Count
    bad_exposures: Annotated[int, Field(ge=0)]
    background: Range
    new_blobs_per_month: NonNegative
    burst_share: Share
    bad_pixels: Annotated[tuple[Share, Share], Ascending]
    table_days: NonNegative
    stripe_noise: NonNegative
    scattered_share: Share
    streak_share: Share
    triplet_share: Share
    unflagged_cosmic_rays: Share


class Split(Section):
    """The subframes of one split."""

    count: Count
    blobs: Annotated[tuple[Count, Count], Ascending]
    snr: Range
    contaminated: Share
    wide: bool


class Subframes(Section):
    """The labelled subframes."""

    train: Split
    val: Split
    test: Split
    shares: tuple[Share, Share]
    labelled: Share
    templates: Share


class Training(Section):
    """The training of a network."""

    epochs: Count
    batch: Count
    learning_rate: Positive
    weight_decay: NonNegative


class Train(Training):
    """The network and its training."""

    architecture: Literal["compact"]
    width: Annotated[int, Field(ge=1, le=64)]
    clip: Annotated[float, Field(gt=0, le=7.9375)]
    crop: Annotated[int, Field(ge=64, le=256, multiple_of=8)]
    crops: Count
    position_weight: NonNegative


class Baseline(Training):
    """The training of the predecessor's network."""

    subframes: Count


class Evaluate(Section):
    """Metrics and their intervals."""

    bootstrap: Draws
    confidence: Confidence
    match_radius: Positive
    false_per_100: Positive
    clean_frames: Count
    empty_frames: Count
    robustness_frames: Count


class Reference(Section):
    """The limits of drift from the training exposures."""

    exposures: Count
    together: Count
    draws: Draws
    confidence: Confidence


class Register(Section):
    """The limits of the promotion gate."""

    auc: Share
    recall_above_15: Share
    recall_10_to_15: Share
    snr_at_half: Positive
    false_per_100: Positive
    position_error: Positive
    worst_snr_at_half: Positive
    worst_false_per_100: Positive
    worst_recall_above_15: Share
    tolerance: NonNegative


class Params(Section):
    """All of ``params.yaml``."""

    seed: Annotated[int, Field(ge=0)]
    threads: Count
    data: Data
    simulate: Simulate
    difference: DifferenceSettings
    monitor: MonitorSettings
    subframes: Subframes
    train: Train
    baseline: Baseline
    evaluate: Evaluate
    reference: Reference
    register_: Register = Field(alias="register")


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check the parameters of the pipeline.

    Raises
    ------
    BlobwatchError
        If the file is missing or not YAML, or a key is unknown, missing or of the wrong type.
    """
    content = read_yaml(path, "Run blobwatch in the project's folder")
    params = validate(Params, content, path)
    if missing := list(missing_keys(content, params.model_dump(by_alias=True))):
        raise BlobwatchError(f"{path}: " + "; ".join(f"{key} {MISSING}" for key in missing))
    return params


def read_settings(path: Path | str) -> Settings:
    """Read the sections ``difference`` and ``monitor`` of a file and ignore the other sections.

    Parameters
    ----------
    path : Path or str
        Such as ``params.yaml``. Missing keys have their defaults.

    Raises
    ------
    BlobwatchError
        If the file is missing or not YAML, or a key is unknown or of the wrong type.
    """
    content = read_yaml(path, "Pass a file like params.yaml with --settings")
    known = {field.alias or name for name, field in Params.model_fields.items()}
    if unknown := sorted(map(str, set(content) - known)):
        raise BlobwatchError(f"{path}: {unknown[0]} {UNKNOWN}")
    sections = {name: content[name] for name in content.keys() & {"difference", "monitor"}}
    return validate(Settings, sections, path)


def read_yaml(path: Path | str, remedy: str) -> dict:
    """Return the sections of a YAML file; ``remedy`` completes the error for a missing file."""
    path = Path(path)
    if not path.is_file():
        raise BlobwatchError(f"{path}: no such file. {remedy}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BlobwatchError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise BlobwatchError(f"{path} holds no sections; restore it with `git checkout {path}`")
    return content


def validate(model: type[T], content: dict, path: Path | str) -> T:
    """Return the content of a file as a model."""
    try:
        # A strict model accepts a list as a tuple only in JSON.
        return TypeAdapter(model).validate_json(json.dumps(content, default=str))
    except ValidationError as invalid:
        problems = []
        for error in invalid.errors():
            key = ".".join(str(part) for part in error["loc"])
            reason = REASONS.get(error["type"], f"is {error['input']!r}: {error['msg']}")
            problems.append(f"{key} {reason}")
        raise BlobwatchError(f"{path}: " + "; ".join(problems)) from None


def missing_keys(content: dict, complete: dict, prefix: str = "") -> Iterator[str]:
    """Yield the keys that a file lacks; dataclasses fill them with defaults."""
    for name, value in complete.items():
        if name not in content:
            yield f"{prefix}{name}"
        elif isinstance(value, dict):
            yield from missing_keys(content[name], value, f"{prefix}{name}.")
