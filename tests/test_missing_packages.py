"""Commands in the core installation: they work, or name the extra that they need."""

import os
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT
from synthetic import image_with_blobs, write_image

# Run a command in a process that finds only the core installation.
BLOCKER = """
import sys
class Blocker:
    finders = list(sys.meta_path)
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            return None
        return next((spec for one in self.finders if (spec := one.find_spec(name, path, target))), None)
sys.meta_path[:] = [Blocker()]
from blobwatch.cli import main
sys.argv = ["blobwatch", *sys.argv[1:]]
main()
"""
IMPORT_NAMES = {"scikit-learn": "sklearn", "scikit-image": "skimage", "pillow": "PIL"}
CORE_COMMANDS = {
    "help": ["--help"],
    "version": ["--version"],
    "predict": ["predict", "image.fits"],
    "predict json": ["predict", "image.fits", "--json"],
    "inspect": ["inspect", "image.fits"],
}
COMMANDS_OF_EXTRAS = {
    "archive": [["fetch", "--dry-run"], ["scan", ".", "--out", "found.parquet"]],
    "monitor": [
        ["monitor", "."],
        ["blobs"],
        ["review", "1", "--confirm", "--reason", "seen"],
        ["overrule", "izzz0000q", "--accept", "--reason", "seen"],
        ["reviewer", "Ada"],
        ["serve"],
        ["report", "--out", "pages"],
    ],
    "train": [
        ["train", "a", "b", "c"],
        ["baseline", "a", "b", "c"],
        ["evaluate", "a", "b", "c", "d", "e", "f"],
        ["predict", "image.fits", "--model", "3"],
        ["sync"],
        ["gc"],
    ],
}


def extra_libraries() -> set[str]:
    """Return the import names of the libraries of all extras that are not in the core installation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [
        one for name, extra in project["optional-dependencies"].items() if name != "docs" for one in extra
    ]
    names = {one.split(">")[0].split("[")[0] for one in listed}
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


@pytest.fixture(scope="module")
def run_core(tmp_path_factory):
    """Run a command without the libraries of the extras."""
    folder = tmp_path_factory.mktemp("core")
    write_image(folder / "image.fits", image_with_blobs([]), ROOTNAME="izzz0000q")
    code = BLOCKER.replace("BLOCKED", repr(extra_libraries()))
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}

    def run(arguments: list[str]) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize("arguments", CORE_COMMANDS.values(), ids=CORE_COMMANDS)
def test_command_works_in_the_core_installation(run_core, arguments):
    done = run_core(arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [(extra, one) for extra, commands in COMMANDS_OF_EXTRAS.items() for one in commands],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_command_names_the_extra_that_it_needs(run_core, extra, arguments):
    done = run_core(arguments)
    assert done.returncode == 1
    assert done.stderr.endswith(f" is not installed. Run: pip install 'blobwatch[{extra}]'\n")
    assert len(done.stderr.splitlines()) == 1
