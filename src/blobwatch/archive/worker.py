"""The work of a scan worker: predictions on chunks of files, with cached state."""

import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

from blobwatch import __version__
from blobwatch.archive.headers import ScanFile
from blobwatch.artefact import Model
from blobwatch.errors import BlobwatchError, RejectedExposure, collect_file_warnings
from blobwatch.history import History
from blobwatch.instrument.flats import FlatFields
from blobwatch.overrules import Overrule
from blobwatch.predict import Predictor
from blobwatch.settings import DifferenceSettings

LOCK = Lock()  # the threads of a worker share its history


@dataclass(frozen=True)
class ScanConfig:
    """The model and the settings of a scan, as sent to the workers."""

    model: Model = field(compare=False)
    settings: DifferenceSettings
    overrules: tuple[Overrule, ...] = ()
    flats: Path | None = None
    release: str = __version__
    identity: str = field(init=False)  # everything that a result depends on, except files and overrules

    def __post_init__(self):
        flats = str(self.flats or "")
        parts = [self.model.files, self.model.version, __version__, asdict(self.settings), flats]
        object.__setattr__(self, "identity", json.dumps(parts, sort_keys=True))


@dataclass(frozen=True)
class Chunk:
    """Files in order of time with the identities of their results, and the exposures of their stacks."""

    config: ScanConfig
    pairs: tuple[tuple[ScanFile, str], ...]
    earlier: tuple[ScanFile, ...]


def predict_chunk(chunk: Chunk) -> list[dict]:
    """Return the rows of the files of a chunk, with the warnings about each file.

    Raises
    ------
    BlobwatchError
        If a worker that joined later has another release of blobwatch.
    """
    if chunk.config.release != __version__:
        raise BlobwatchError(
            f"a worker has blobwatch {__version__}, this is {chunk.config.release}. Install the same release"
        )
    rows = []
    with LOCK:
        history = update_history(chunk.config, chunk.earlier)
        for file, identity in chunk.pairs:
            with collect_file_warnings() as found:
                row = predict_row(chunk.config, file, identity, history)
            rows.append(row | {"warnings": found})
    return rows


@lru_cache(maxsize=1)
def get_predictor(config: ScanConfig) -> Predictor:
    """Return the predictor of this worker."""
    return Predictor(config.model)


@lru_cache(maxsize=1)
def get_history(config: ScanConfig) -> History:
    """Return the history of this worker, whose blob images serve several chunks."""
    overrules = {one.rootname: one for one in config.overrules}
    return History((), config.settings, overrules, FlatFields(config.flats) if config.flats else None)


def update_history(config: ScanConfig, earlier: tuple[ScanFile, ...]) -> History:
    """Return the history of this worker with the exposures of a chunk.

    If a file has changed, start with an empty history.
    """
    history, exposures = get_history(config), [one.listed for one in earlier if one.listed]
    if any(history.exposures.get(one.rootname, one) != one for one in exposures):
        get_history.cache_clear()
        history = get_history(config)
    for one in exposures:
        if one.rootname not in history.exposures:
            history.add(one)
    return history


def predict_row(config: ScanConfig, file: ScanFile, identity: str, history: History) -> dict:
    """Return the row of one file; errors become part of it."""
    row = make_row(config, file, identity)
    try:
        found = get_predictor(config).predict_file(file.path, None, history).as_json()
    except BlobwatchError as error:
        return row | {"error": str(error), "rejected": isinstance(error, RejectedExposure)}
    except Exception as error:  # one file must not stop the scan
        return row | {"error": f"{type(error).__name__}: {error}"}
    probabilities = [one["probability"] for one in found["subframes"]]
    return row | {
        **{name: found[name] for name in ("rootname", "kind", "blobs")},
        "probability": max(probabilities),
        "count": len(found["blobs"]),
        "probabilities": probabilities,
    }


def make_row(config: ScanConfig, file: ScanFile, identity: str, error: str | None = None) -> dict:
    """Return a row without a prediction."""
    listed = file.listed
    return {
        "image": str(file.path),
        "rootname": listed.rootname if listed else None,
        "expstart": file.expstart,
        "filter": file.filter or None,
        "flats": listed.calibration.flats if listed else None,
        "cal_ver": listed.calibration.version if listed else None,
        "error": error,
        "rejected": False,
        "model_version": config.model.version,
        "model_sha256": config.model.sha256,
        "identity": identity,
    }
