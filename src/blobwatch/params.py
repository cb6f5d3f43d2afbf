"""``params.yaml`` read and checked: one frozen model per section, every key required."""

import json
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from blobwatch.errors import BlobwatchError

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def rising(pair: tuple) -> tuple:
    """Return a range whose first end is not above its second."""
    if pair[0] > pair[1]:
        raise ValueError("the first value must not be above the second")
    return pair


Range = Annotated[tuple[Positive, Positive], AfterValidator(rising)]


class Section(BaseModel):
    """A section: keys are fixed, values are checked and not converted from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    """Which exposures are used."""

    exposures: str
    filter: str


class Simulate(Section):
    """The simulated season."""

    start: Positive
    days: Positive
    exposures: Count
    bad_exposures: Annotated[int, Field(ge=0)]
    background: Range
    new_blobs_per_month: Annotated[float, Field(ge=0)]
    burst_share: Share
    bad_pixels: Annotated[tuple[Share, Share], AfterValidator(rising)]
    table_days: Annotated[float, Field(ge=0)]
    stripe_noise: Annotated[float, Field(ge=0)]
    scattered_share: Share
    streak_share: Share
    triplet_share: Share
    unflagged_cosmic_rays: Share


class Quality(Section):
    """The most that an exposure may have."""

    gradient: Positive
    streaks: Share
    noise: Positive
    excess: Positive
    flagged: Share


class Difference(Section):
    """Blob images, stacks, differences."""

    days: Positive
    minimum: Annotated[int, Field(ge=2)]
    box: Literal[16, 32, 64, 128]
    quality: Quality


class Split(Section):
    """The subframes of one split."""

    count: Count
    blobs: Annotated[tuple[Count, Count], AfterValidator(rising)]
    contaminated: Share
    wide: bool


class Subframes(Section):
    """The labelled subframes."""

    train: Split
    val: Split
    test: Split
    shares: tuple[Share, Share]
    snr: Range
    labelled: Share
    templates: Share


class Train(Section):
    """The network and its training."""

    architecture: Literal["compact", "plain"]
    width: Annotated[int, Field(ge=1, le=8)]
    clip: Annotated[float, Field(gt=0, le=7.9375)]
    loss: Literal["logistic", "focal"]
    turns: bool
    bfloat16: bool
    epochs: Count
    patience: Count
    batch: Count
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    position_weight: Annotated[float, Field(ge=0)]


class Baseline(Section):
    """The training of the predecessor's network."""

    epochs: Count
    batch: Count
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]


class Evaluate(Section):
    """Metrics and their intervals."""

    bootstrap: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    match_radius: Positive
    false_per_100: Positive
    clean_frames: Count


class Reference(Section):
    """How far the traits of some exposures may be from those that trained."""

    exposures: Count
    together: Count
    draws: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]


class Register(Section):
    """The gate."""

    auc: Share
    recall_above_15: Share
    recall_10_to_15: Share
    snr_at_half: Positive
    false_per_100: Positive
    position_error: Positive
    tolerance: Annotated[float, Field(ge=0)]


class Params(Section):
    """The whole of ``params.yaml``."""

    seed: Annotated[int, Field(ge=0)]
    threads: Count
    data: Data
    simulate: Simulate
    difference: Difference
    subframes: Subframes
    train: Train
    baseline: Baseline
    evaluate: Evaluate
    reference: Reference
    register_: Register = Field(alias="register")


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check the parameters.

    Raises
    ------
    BlobwatchError
        If the file is absent or no YAML, or a key is unknown, missing or of the wrong type; names the key.
    """
    path = Path(path)
    if not path.is_file():
        raise BlobwatchError(f"{path} does not exist; run blobwatch in the project's folder")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BlobwatchError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise BlobwatchError(f"{path} holds no sections; restore it with `git checkout {path}`")
    try:
        # As JSON, since only there a strict model takes a list for a tuple.
        return Params.model_validate_json(json.dumps(content, default=str))
    except ValidationError as invalid:
        complaints = []
        for error in invalid.errors():
            key = ".".join(str(part) for part in error["loc"])
            reason = {
                "extra_forbidden": "is not a known key; remove it or correct its name",
                "missing": "is missing; add it",
            }.get(error["type"], f"is {error['input']!r}: {error['msg']}")
            complaints.append(f"{key} {reason}")
        raise BlobwatchError(f"{path}: " + "; ".join(complaints)) from None
