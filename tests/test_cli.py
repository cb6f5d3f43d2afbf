"""The command line: help at once, answers on stdout, sentences on stderr, never a traceback."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT
from synthetic import image_with_blobs, parse_json_lines, write_exposure, write_image

from blobwatch.cli import app, main
from blobwatch.instrument.blobs import Blob

LOUD = Blob(x=411.8, y=89.1, half_width=4.0, depth=0.04)
VERBS = [command.callback.__name__.replace("_", "-") for command in app.registered_commands]
# The stages come first; how many places each takes.
PLACES = {
    "simulate": 1,
    "difference": 3,
    "subframes": 5,
    "train": 3,
    "baseline": 3,
    "evaluate": 6,
    "reference": 4,
    "register": 3,
}


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the program as from a shell; return exit status, stdout and stderr."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["blobwatch", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else code), said.out, said.err

    return run


def one_sentence(said: str) -> str:
    lines = said.strip().splitlines()
    assert len(lines) == 1, said
    assert lines[0].startswith("blobwatch: ")
    return lines[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two good difference images, and between them one that is none."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "b.fits").write_text("no FITS")
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


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(run, verb):
    status, out, _ = run(verb, "--help")
    assert status == 0
    assert f"blobwatch {verb}" in out
    assert (
        next(
            c for c in app.registered_commands if c.callback.__name__.replace("_", "-") == verb
        ).callback.__doc__.split()[0]
        in out
    )


def test_help_lists_the_verbs_in_the_order_of_the_flow(run):
    status, out, _ = run("--help")
    assert status == 0
    places = [out.index(f"│ {verb} ") for verb in VERBS]
    assert places == sorted(places)


def test_help_loads_nothing_heavy():
    heavy = ["numpy", "torch", "mlflow", "astropy", "matplotlib", "pydantic", "dask", "onnxruntime"]
    heavy += ["astroquery", "boto3", "requests", "tenacity"]
    code = f"import sys; import blobwatch.cli; print(*[n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_an_unknown_verb_or_option(run):
    for arguments in (["predikt"], ["predict"], ["predict", "a.fits", "--modell", "x"]):
        status, out, err = run(*arguments)
        assert status == 2
        assert out == ""
        assert "Usage: blobwatch" in err


def test_answers_are_lines_of_json_and_a_bad_file_stops_no_other(run, images, box_model):
    status, out, err = run("predict", *images, "--model", box_model, "--json")
    first, bad, last = parse_json_lines(out)
    assert status == 1
    assert [first["image"], bad["image"], last["image"]] == [str(path) for path in images]
    assert len(first["blobs"]) == 1
    assert len(last["subframes"]) == 16
    assert list(bad) == ["image", "error"]
    assert "is not a readable FITS file; fetch or copy it again" in bad["error"]
    assert one_sentence(err) == f"blobwatch: {bad['error']}"


def test_all_well_is_status_0_and_silent_on_stderr(run, images, box_model):
    status, out, err = run("predict", images[0], images[2], "--model", box_model, "--json")
    assert (status, err) == (0, "")
    assert [line["rootname"] for line in parse_json_lines(out)] == ["izzz0000q", "izzz0001q"]


@pytest.mark.parametrize(
    "fault", ["absent", "empty", "folder", "truncated", "nan", "flat", "subarray", "table"]
)
def test_each_bad_file_is_one_sentence(run, images, box_model, tmp_path, fault):
    path = tmp_path / "bad.fits"
    if fault == "empty":
        path.touch()
    elif fault == "folder":
        path.mkdir()
    elif fault == "truncated":
        path.write_bytes(images[0].read_bytes()[:2_000_000])
    elif fault == "nan":
        write_image(path, np.full((1024, 1024), np.nan, np.float32))
    elif fault == "flat":
        write_image(path, np.ones((1024, 1024), np.float32))
    elif fault == "subarray":
        write_image(path, np.ones((512, 512), np.float32))
    elif fault == "table":
        path.write_text("x,y\n1,2\n")
    status, out, err = run("predict", path, "--model", box_model, "--json")
    (line,) = parse_json_lines(out)
    assert status == 1
    assert line["error"].count(str(path)) == 1
    assert "Traceback" not in err
    assert one_sentence(err) == f"blobwatch: {line['error']}"


def test_a_table_for_people(run, images, box_model):
    status, out, _ = run("predict", images[0], images[2], "--model", box_model)
    assert status == 0
    assert str(images[0]) in out
    assert "probability per subframe, top row first" in " ".join(out.split())
    assert "no new blob" in out
    assert "threshold 0.50" in out
    assert "bad pixels masked" in " ".join(out.split())


@pytest.mark.parametrize("name", ["a[red].fits", "a[/].fits", "a [1].fits"])
def test_a_path_is_printed_as_it_is(run, images, box_model, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(images[2].read_bytes())
    status, out, _ = run("predict", path, "--model", box_model)
    assert status == 0
    assert name in out


def test_pictures(run, images, box_model, tmp_path):
    status, out, err = run(
        "predict", images[0], images[2], "--model", box_model, "--json", "--plot", tmp_path / "p"
    )
    assert status == 0
    assert len(parse_json_lines(out)) == 2
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["a.png", "c.png"]
    for path in (tmp_path / "p").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    assert "a.png" in err


@pytest.mark.parametrize("rootname", ["../outside", "/tmp/blobwatch-outside", ""])
def test_a_picture_never_leaves_its_folder(run, box_model, tmp_path, rootname):
    path = write_image(tmp_path / "a.fits", image_with_blobs([]), ROOTNAME=rootname)
    run("predict", path, "--model", box_model, "--json", "--plot", tmp_path / "deep" / "p")
    pictures = list(tmp_path.rglob("*.png"))
    assert len(pictures) == 1
    assert pictures[0].parent == tmp_path / "deep" / "p"
    assert not pictures[0].name.startswith(".")


def test_an_exposure_with_its_history(run, month, box_model):
    status, out, _ = run("predict", month[4], "--model", box_model, "--json", "--history", month[0].parent)
    (line,) = parse_json_lines(out)
    assert status == 0
    assert line["rootname"] == "iaaa0401q"
    assert [round(blob["x"] / 10) for blob in line["blobs"]] == [41]


def test_an_exposure_with_a_stack(run, month, box_model, tmp_path):
    for level in (1.0, 0.0):  # the predecessor's stacks are fractions around 0
        stack = write_image(tmp_path / f"stack{level}.fits", np.full((1024, 1024), level, np.float32))
        status, out, _ = run("predict", month[4], "--model", box_model, "--json", "--stack", stack)
        assert status == 0
        (line,) = parse_json_lines(out)
        assert [one["index"] for one in line["subframes"] if one["blob"]] == [1]
        assert (line["blobs"][0]["x"], line["blobs"][0]["y"]) == pytest.approx((411.8, 89.1), abs=3.0)


def test_a_stack_that_is_none_is_refused(run, month, box_model):
    """Electrons per second would silently give a wrong difference."""
    status, _, err = run("predict", month[4], "--model", box_model, "--json", "--stack", month[0])
    assert status == 1
    assert "not a median stack" in err
    assert "Traceback" not in err


def test_an_exposure_alone_or_with_too_few(run, month, box_model):
    status, out, _ = run("predict", month[4], "--model", box_model, "--json")
    assert status == 1
    assert (
        "--stack FILE, or the folder of earlier exposures with --history DIR"
        in parse_json_lines(out)[0]["error"]
    )
    status, out, _ = run("predict", month[1], "--model", box_model, "--json", "--history", month[0].parent)
    assert status == 1
    assert (
        "1 accepted exposures in the 30 days before it, a stack needs 3" in parse_json_lines(out)[0]["error"]
    )


def test_difference_images_and_exposures_in_one_call(run, month, images, box_model):
    """A difference image is used as it is; a history beside it changes nothing."""
    status, out, err = run(
        "predict", images[0], month[4], "--model", box_model, "--json", "--history", month[0].parent
    )
    assert (status, err) == (0, "")
    assert [line["kind"] == "difference" for line in parse_json_lines(out)] == [True, False]


@pytest.mark.parametrize("fault", ["absent", "altered", "no folder"])
def test_a_model_that_cannot_be_used(run, images, box_model, tmp_path, fault):
    folder = tmp_path / "model"
    if fault != "no folder":
        folder.mkdir()
        for path in box_model.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    if fault == "absent":
        (folder / "model.onnx").unlink()
    elif fault == "altered":
        (folder / "model.onnx").write_bytes(b"x")
    status, out, err = run("predict", images[0], "--model", folder, "--json")
    assert (status, out) == (1, "")
    assert str(folder) in one_sentence(err)


@pytest.mark.parametrize("verb", [verb for verb in PLACES if verb != "simulate"])
def test_stages_say_what_is_missing(run, tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    status, out, err = run(verb, *(f"place{n}" for n in range(PLACES[verb])))
    assert (status, out) == (1, "")
    one_sentence(err)


@pytest.mark.parametrize("verb", PLACES)
def test_an_unknown_key_of_params(run, tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["train"]["epoch"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    status, out, err = run(verb, *(f"place{n}" for n in range(PLACES[verb])))
    assert (status, out) == (1, "")
    assert "train.epoch is not a known key; remove it or correct its name" in one_sentence(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml"]


def test_the_program_itself(images, box_model):
    """As a process: status, streams, no traceback."""
    command = [sys.executable, "-m", "blobwatch.cli", "predict", *map(str, images), "--model", str(box_model)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 3
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
