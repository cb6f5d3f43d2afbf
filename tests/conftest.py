"""Shared by all tests: the project's parameters, and a piece of its season taken at real size, once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from archive.fetch_command import archive, command  # noqa: F401
from filelock import FileLock
from lineage.project import blank_database, project, ungated  # noqa: F401
from monitor.example_exposures import seen, sky, watched  # noqa: F401
from small_project import SmallProject, add_second_version, build_project, copy_project

from blobwatch.images.flatten import blob_image
from blobwatch.images.stack import median_stack
from blobwatch.instrument import wfc3ir
from blobwatch.instrument.exposures import write_flt
from blobwatch.instrument.season import Season, expose, plan_season
from blobwatch.params import Params, load_params
from blobwatch.stages.simulate import create_sky

ROOT = Path(__file__).resolve().parents[1]
FIRST, COUNT = 36, 11  # of the season's exposures: about a month in its middle


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
    """The project's own ``params.yaml``."""
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def season(params) -> Season:
    """The default season, planned and not yet taken."""
    own = params.simulate
    return plan_season(params.seed, own.start, own.days, own.exposures, create_sky(own))


def take(season: Season, number: int, box: int = 64) -> Taken:
    header, planes = expose(season, season.pointings[number])
    image, dq = wfc3ir.embed(planes["SCI"]), wfc3ir.embed(planes["DQ"], fill=0)
    return Taken(number, header, image, dq, blob_image(image, dq, box))


@pytest.fixture(scope="session")
def taken(season, params) -> list[Taken]:
    """Eleven exposures in a row from the middle of the season."""
    return [take(season, number, params.difference.box) for number in range(FIRST, FIRST + COUNT)]


@pytest.fixture(scope="session")
def stacks(taken) -> dict[int, np.ndarray]:
    """The stacks of the 3 and of the 10 exposures before the last one."""
    return {depth: median_stack([one.blob_image for one in taken[-1 - depth : -1]]) for depth in (3, 10)}


@pytest.fixture(scope="session")
def flt(season, tmp_path_factory) -> Path:
    """One exposure as the file that the stage writes."""
    header, planes = expose(season, season.pointings[FIRST])
    path = tmp_path_factory.mktemp("flt") / f"{header['ROOTNAME']}_flt.fits"
    write_flt(path, header, planes)
    return path


@pytest.fixture(scope="session")
def box_model(tmp_path_factory) -> Path:
    """The folder of a model that finds loud blobs in white noise; made by hand, not trained."""
    from synthetic import write_model

    return write_model(tmp_path_factory.mktemp("model") / "box")


@pytest.fixture(scope="session")
def small(tmp_path_factory, blank_database) -> SmallProject:  # noqa: F811
    """The whole pipeline with small numbers, built once for all processes of the tests; not to be changed."""
    return build_once(tmp_path_factory, "small", lambda root: build_project(root, blank_database))


@pytest.fixture(scope="session")
def seasoned(tmp_path_factory, small) -> SmallProject:
    """The same with a second version, trained at another rate: promoted, and rolled back from."""
    return build_once(
        tmp_path_factory, "seasoned", lambda root: add_second_version(copy_project(small, root))
    )


def build_once(tmp_path_factory, name: str, make) -> SmallProject:
    """Make a project unless another process of the tests has; return it."""
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
    """A copy of the first, to do harm to."""
    return copy_project(small, tmp_path / "project")


@pytest.fixture
def old_lab(seasoned, tmp_path) -> SmallProject:
    """A copy of the second, to do harm to."""
    return copy_project(seasoned, tmp_path / "project")
