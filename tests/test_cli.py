"""The command line: help, results on stdout, messages on stderr, exit statuses, no tracebacks."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT
from synthetic import image_with_blobs, parse_json_lines, write_exposure, write_image

from blobwatch import __version__
from blobwatch.cli import app
from blobwatch.instrument.blobs import Blob

LOUD = Blob(x=411.8, y=89.1, half_width=4.0, depth=0.04)
COMMANDS = [command.callback.__name__.replace("_", "-") for command in app.registered_commands]
# Number of paths of each stage.
PATHS = {
    "simulate": 1,
    "difference": 3,
    "subframes": 5,
    "train": 3,
    "baseline": 3,
    "evaluate": 6,
    "reference": 4,
    "register": 3,
}


def read_error(text: str) -> str:
    """Return the error message, which must be a single line."""
    (line,) = text.strip().splitlines()
    assert line.startswith("blobwatch: ")
    return line


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two difference images, and between them a file that is not FITS."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "b.fits").write_text("not FITS")
    return [
        write_image(folder / "a.fits", image_with_blobs([LOUD]), ROOTNAME="izzz0000q"),
        folder / "b.fits",
        write_image(folder / "c.fits", image_with_blobs([], seed=4), ROOTNAME="izzz0001q"),
    ]


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    folder = tmp_path_factory.mktemp("month")
    paths = [write_exposure(folder, number) for number in range(4)]
    return [*paths, write_exposure(folder, 4, [LOUD])]


def test_each_command_has_help(run):
    status, out, _ = run("--help")
    assert status == 0
    positions = [out.index(f"│ {name} ") for name in COMMANDS]
    assert positions == sorted(positions)
    for name, command in zip(COMMANDS, app.registered_commands, strict=True):
        status, out, _ = run(name, "--help")
        assert status == 0
        assert f"blobwatch {name}" in out
        assert command.callback.__doc__.split()[0] in out


def test_help_imports_no_heavy_library():
    heavy = ["numpy", "torch", "mlflow", "astropy", "matplotlib", "pydantic", "dask", "onnxruntime"]
    heavy += ["astroquery", "boto3", "requests", "tenacity"]
    code = f"import sys; import blobwatch.cli; print(*[n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("arguments", [["predikt"], ["predict"], ["predict", "a.fits", "--modell", "x"]])
def test_unknown_command_or_option_is_a_usage_error(run, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "Usage: blobwatch" in err


def test_unusable_file_does_not_stop_the_others(run, images, box_model):
    status, out, err = run("predict", *images, "--model", box_model, "--json")
    first, bad, last = parse_json_lines(out)
    assert status == 1
    assert [first["image"], bad["image"], last["image"]] == [str(path) for path in images]
    assert len(first["blobs"]) == 1
    assert len(last["subframes"]) == 16
    assert list(bad) == ["image", "error"]
    assert "not a readable FITS file" in bad["error"]
    assert read_error(err) == f"blobwatch: {bad['error']}"


@pytest.mark.parametrize("size", [None, 1024, 512])
def test_unusable_file_is_a_one_line_error(run, box_model, tmp_path, size):
    path = tmp_path / "bad.fits"
    if size:
        write_image(path, np.full((size, size), 1.0, np.float32))
    status, out, err = run("predict", path, "--model", box_model, "--json")
    (line,) = parse_json_lines(out)
    assert status == 1
    assert line["error"].count(str(path)) == 1
    assert read_error(err) == f"blobwatch: {line['error']}"


def test_unusable_model_is_a_one_line_error(run, images, tmp_path):
    status, out, err = run("predict", images[0], "--model", tmp_path, "--json")
    assert (status, out) == (1, "")
    assert str(tmp_path) in read_error(err)


def test_tables(run, images, box_model):
    status, out, _ = run("predict", images[0], images[2], "--model", box_model)
    assert status == 0
    assert str(images[0]) in out
    assert "probability per subframe, top row first" in " ".join(out.split())
    assert "no new blob" in out
    assert "threshold 0.50" in out
    assert "bad pixels masked" in " ".join(out.split())


@pytest.mark.parametrize("name", ["a[red].fits", "a[/].fits", "a [1].fits"])
def test_path_is_printed_without_markup(run, images, box_model, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(images[2].read_bytes())
    status, out, _ = run("predict", path, "--model", box_model)
    assert status == 0
    assert name in out


@pytest.mark.parametrize("rootname", ["../outside", "/tmp/blobwatch-outside", ""])
def test_figure_is_written_into_its_directory(run, box_model, tmp_path, rootname):
    path = write_image(tmp_path / "a.fits", image_with_blobs([]), ROOTNAME=rootname)
    folder = tmp_path / "deep" / "p"
    status, out, err = run("predict", path, "--model", box_model, "--json", "--plot", folder)
    assert (status, len(parse_json_lines(out))) == (0, 1)
    assert list(tmp_path.rglob("*.png")) == [folder / "a.png"]
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "a.png" in err


def test_exposure_with_stack(run, month, box_model, tmp_path):
    for level in (1.0, 0.0):  # stacks of the predecessor are fractions around 0
        stack = write_image(tmp_path / f"stack{level}.fits", np.full((1024, 1024), level, np.float32))
        status, out, _ = run("predict", month[4], "--model", box_model, "--json", "--stack", stack)
        assert status == 0
        (line,) = parse_json_lines(out)
        assert [one["index"] for one in line["subframes"] if one["blob"]] == [1]
        assert (line["blobs"][0]["x"], line["blobs"][0]["y"]) == pytest.approx((411.8, 89.1), abs=3.0)


def test_stack_in_electrons_is_refused(run, month, box_model):
    status, _, err = run("predict", month[4], "--model", box_model, "--json", "--stack", month[0])
    assert status == 1
    assert "not a median stack" in err
    assert "Traceback" not in err


def test_difference_images_and_exposures_in_one_call(run, month, images, box_model):
    status, out, err = run(
        "predict", images[0], month[4], "--model", box_model, "--json", "--history", month[0].parent
    )
    assert (status, err) == (0, "")
    assert [line["kind"] == "difference" for line in parse_json_lines(out)] == [True, False]


@pytest.mark.parametrize("stage", [stage for stage in PATHS if stage != "simulate"])
def test_missing_input_of_a_stage_is_a_one_line_error(run, tmp_path, monkeypatch, stage):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    status, out, err = run(stage, *(f"path{n}" for n in range(PATHS[stage])))
    assert (status, out) == (1, "")
    read_error(err)


@pytest.mark.parametrize("stage", PATHS)
def test_unknown_key_of_params_is_an_error(run, tmp_path, monkeypatch, stage):
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["train"]["epoch"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    status, out, err = run(stage, *(f"path{n}" for n in range(PATHS[stage])))
    assert (status, out) == (1, "")
    assert "train.epoch is not a known key; remove it or correct its name" in read_error(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml"]


def test_version_names_program_model_and_commit(run):
    status, out, _ = run("--version")
    deployed = json.loads((ROOT / "models/champion/deployed.json").read_text())["version"]
    assert status == 0
    assert out.startswith(f"blobwatch {__version__}\n")
    assert f"deployed model: version {deployed} (" in out
