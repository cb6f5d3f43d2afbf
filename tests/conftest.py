"""Shared fixtures: parameters, part of the simulated season at full size, and small projects."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from archive.fetch_command import archive, command  # noqa: F401
from filelock import FileLock
from lineage.project import blank_database, project, ungated  # noqa: F401
from monitor.example_exposures import seen, sky, watched  # noqa: F401
from small_project import SmallProject, add_second_version, build_project, copy_project

from blobwatch.cli import main
from blobwatch.images.flatten import blob_image
from blobwatch.images.stack import median_stack
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.exposures import write_flt
from blobwatch.instrument.season import Season, expose, plan_season
from blobwatch.params import Params, load_params

ROOT = Path(__file__).resolve().parents[1]
FIRST, COUNT = 36, 11  # of the season's exposures: about a month in its middle


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs a command and returns exit status, stdout and stderr."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["blobwatch", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run


@dataclass(frozen=True)
class Taken:
    """One simulated exposure in the 1024 frame, and its blob image."""

    number: int
    header: object
    image: np.ndarray  # (1024, 1024), electrons/s
    dq: np.ndarray  # (1024, 1024), int16
    blob_image: np.ndarray  # (1024, 1024), float32, about 1


@pytest.fixture(scope="session")
def params() -> Params:
    """Return ``params.yaml`` of the project."""
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def season(params) -> Season:
    """Return the plan of the default season."""
    return plan_season(params.seed, params.simulate.model_copy(update={"bad_exposures": 0}))


def take(season: Season, number: int, box: int = 64) -> Taken:
    header, planes = expose(season, season.pointings[number])
    image, dq = wfc3ir.embed(planes["SCI"]), wfc3ir.embed(planes["DQ"], fill=0)
    return Taken(number, header, image, dq, blob_image(image, dq, box))


@pytest.fixture(scope="session")
def taken(season, params) -> list[Taken]:
    """Return eleven consecutive exposures from the middle of the season."""
    return [take(season, number, params.difference.box) for number in range(FIRST, FIRST + COUNT)]


@pytest.fixture(scope="session")
def stacks(taken) -> dict[int, np.ndarray]:
    """Return the stacks of the 3 and the 10 exposures before the last one."""
    return {depth: median_stack([one.blob_image for one in taken[-1 - depth : -1]]) for depth in (3, 10)}


@pytest.fixture(scope="session")
def flt(season, tmp_path_factory) -> Path:
    """Return the file of one exposure, as the stage writes it."""
    header, planes = expose(season, season.pointings[FIRST])
    path = tmp_path_factory.mktemp("flt") / f"{header['ROOTNAME']}_flt.fits"
    write_flt(path, header, planes)
    return path


@pytest.fixture(scope="session")
def box_model(tmp_path_factory) -> Path:
    """Return the folder of a model with fixed weights that finds strong blobs in white noise."""
    from synthetic import write_model

    return write_model(tmp_path_factory.mktemp("model") / "box")


@pytest.fixture(scope="session")
def small(tmp_path_factory, blank_database) -> SmallProject:  # noqa: F811
    """Return the shared project after a run of the pipeline with small numbers; do not change it."""
    return build_once(tmp_path_factory, "small", lambda root: build_project(root, blank_database))


@pytest.fixture(scope="session")
def seasoned(tmp_path_factory, small) -> SmallProject:
    """Return the shared project with a second version that was promoted and rolled back."""
    return build_once(
        tmp_path_factory, "seasoned", lambda root: add_second_version(copy_project(small, root))
    )


def build_once(tmp_path_factory, name: str, make) -> SmallProject:
    """Build a project unless another test process has built it."""
    shared = tmp_path_factory.getbasetemp()
    if shared.name.startswith("popen-"):  # one of several processes
        shared = shared.parent
    done = shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            make(shared / name)
            done.touch()
    return SmallProject(shared / name)


@pytest.fixture
def lab(small, tmp_path) -> SmallProject:
    """Return a copy of the small project that may be changed."""
    return copy_project(small, tmp_path / "project")


@pytest.fixture
def old_lab(seasoned, tmp_path) -> SmallProject:
    """Return a copy of the project with two versions that may be changed."""
    return copy_project(seasoned, tmp_path / "project")
