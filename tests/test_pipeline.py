"""Consistency of dvc.yaml, params.yaml and the code."""

import ast
from pathlib import Path

import pytest
import yaml

from blobwatch.cli import app
from blobwatch.params import Params

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "blobwatch"
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = ["simulate", "difference", "subframes", "train", "baseline", "evaluate", "reference", "register"]
# Modules without influence on the outputs of a stage; the values of params.yaml are dependencies themselves.
WITNESS = PACKAGE / "lineage" / "fingerprint.py"  # writes the fingerprint of each stage
WITHOUT_EFFECT = {
    PACKAGE / "errors.py",
    PACKAGE / "progress.py",
    PACKAGE / "params.py",
    PACKAGE / "settings.py",
}


def module_file(name: str) -> Path | None:
    """Return the file of a module of the package, None for other modules."""
    path = ROOT / "src" / Path(*name.split("."))
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


def imported(path: Path) -> set[Path]:
    """Return the modules of the package that a file imports, except for type checking."""
    found = set()
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] == "blobwatch" and module_file(name):
                found.add(module_file(name))
    return found


def closure(start: Path) -> set[Path]:
    """Return a file and all modules that it imports, directly or indirectly."""
    todo, seen = [start], set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += imported(path)
    return seen


def covered(dependency: str, path: Path) -> bool:
    return path == ROOT / dependency or (ROOT / dependency) in path.parents


@pytest.mark.parametrize("stage", STAGES)
def test_deps_of_each_stage_are_its_imported_modules(stage):
    needed = closure(PACKAGE / "stages" / f"{stage}.py") | closure(WITNESS)
    needed -= WITHOUT_EFFECT
    named = [d for d in PIPELINE[stage]["deps"] if d.startswith("src/")]
    missing = {str(p.relative_to(ROOT)) for p in needed if not any(covered(d, p) for d in named)}
    needless = [d for d in named if not any(covered(d, p) for p in needed)]
    assert not missing, f"dvc.yaml: deps of {stage} are missing"
    assert not needless, f"dvc.yaml: deps of {stage} are not imported"


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_depends_on_the_environment(stage):
    assert "requirements.lock" in PIPELINE[stage]["deps"]


def test_stages_commands_and_sections_have_the_same_names():
    verbs = [command.callback.__name__ for command in app.registered_commands]
    assert list(PIPELINE) == STAGES
    assert verbs[: len(STAGES)] == STAGES
    for stage in STAGES:
        assert PIPELINE[stage]["cmd"].startswith(f"blobwatch {stage} ")
        assert (PACKAGE / "stages" / f"{stage}.py").is_file()
    sections = {field.alias or name for name, field in Params.model_fields.items()}
    assert set(STAGES) <= sections


@pytest.mark.parametrize("stage", STAGES)
def test_params_of_each_stage_exist(stage):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name in PIPELINE[stage]["params"]:
        value = params
        for part in name.split("."):
            assert part in value, name
            value = value[part]


@pytest.mark.parametrize("stage", STAGES)
def test_commands_take_their_paths_from_deps_and_outs(stage):
    entry = PIPELINE[stage]
    known = list(entry["deps"])
    for kind in ("outs", "metrics", "plots"):
        known += [next(iter(out)) if isinstance(out, dict) else out for out in entry.get(kind, [])]
    for path in entry["cmd"].split()[2:]:
        assert any(k == path or k.startswith(f"{path}/") for k in known), path


LEDGER = (
    *("queries", "blobs", "database", "exposures", "ingest", "lightcurves", "rows", "onset", "overrules"),
    *("reviewers", "tables"),
)
DOORS = {
    "astropy": {
        "instrument/calibration.py",
        "instrument/fitsfile.py",
        "instrument/exposures.py",
        "instrument/differences.py",
        "instrument/ramp.py",
        "instrument/season.py",
        "instrument/templates.py",
        "stages/difference.py",
        "detector/model_card.py",  # dates of exposures
        "monitor/export.py",  # tables with units
    },
    "astroquery": {"archive/mast.py"},
    "requests": {"archive/mast.py"},
    "boto3": {"archive/cloud.py"},
    "botocore": {"archive/cloud.py"},
    "mlflow": {
        f"lineage/tracking/{name}.py" for name in ("store", "runs", "registry", "snapshot", "logged_model")
    },
    "matplotlib": {
        "figures/instrument.py",
        "figures/explain.py",
        "figures/evaluation.py",
        "figures/inspection.py",
        "figures/prediction.py",
        "figures/monitor.py",
        "monitor/charts.py",  # ticks and colours
        "cli/output/monitor.py",  # imports it early
        "lineage/tracking/runs.py",  # imports it early, since MLflow's own late import deadlocks
    },
    "PIL": {"monitor/analysis.py"},
    "sqlalchemy": {
        *(f"monitor/ledger/{name}.py" for name in LEDGER),
        "monitor/ledger/migrations/versions/0001_the_first_ledger.py",
        "monitor/ledger/migrations/versions/0002_versions_of_exposures.py",
        "lineage/tracking/snapshot.py",  # MLflow's own database
    },
    "alembic": {
        "monitor/ledger/database.py",
        "monitor/ledger/migrations/env.py",
        "monitor/ledger/migrations/versions/0001_the_first_ledger.py",
        "monitor/ledger/migrations/versions/0002_versions_of_exposures.py",
    },
    "apprise": {"monitor/channels.py"},
    "fastapi": {"monitor/web.py"},
    "starlette": {"monitor/web.py"},
    "uvicorn": {"monitor/web.py"},
    "onnxruntime": {"artefact.py"},
    "dask": {"archive/cluster.py"},
    "distributed": {"archive/cluster.py"},
    "pyarrow": {"archive/scan_parquet.py"},
    "pickle": {"dataset/blob_dict.py"},
    "pickletools": {"dataset/blob_dict.py"},
    "sklearn": {
        "detector/calibration.py",
        "detector/evaluation.py",
        "detector/metrics.py",
        "lineage/tracking/runs.py",
    },
}


@pytest.mark.parametrize("library", DOORS)
def test_library_is_imported_only_by_its_modules(library):
    through = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == library for name in names):
                through.add(path.relative_to(PACKAGE).as_posix())
    assert through <= DOORS[library]


FLOORS = [
    "errors files progress settings overrules",
    "instrument",
    "images",
    "artefact detections history predict inspection",
    "dataset",
    "detector",
    "robustness",
    "params lineage figures archive",
    "monitor",
    "stages cli",
]


def test_modules_import_only_lower_floors():
    level = {room: n for n, floor in enumerate(FLOORS) for room in floor.split()}
    exceptions = {("settings", "params")}  # pydantic is only loaded to read a settings file
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imported(path):
            used = other.relative_to(PACKAGE).parts[0].removesuffix(".py")
            if used != "__init__" and (room, used) not in exceptions:
                assert level[used] <= level[room], f"{path} uses {used}"
