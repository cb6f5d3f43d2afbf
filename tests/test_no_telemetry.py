"""Commands contact no host, and write no file outside the project and the given outputs.

The exception is matplotlib's cache of the fonts of the machine.
"""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from synthetic import image_with_blobs, write_exposure, write_image

# Run a command in a process that ends when a library connects to a host other than this one. An exception
# would end only the thread that connects, and the command could wait for it forever.
GUARD = """
import os, sys
LOCAL = (None, "", "localhost", "127.0.0.1", "::1")
def guard(event, arguments):
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        host = arguments[0] if event == "socket.getaddrinfo" else None
    if host not in LOCAL:
        os.write(2, f"connection to {host}".encode())
        os._exit(3)
sys.addaudithook(guard)
from blobwatch.cli import main
sys.argv = ["blobwatch", *sys.argv[1:]]
main()
"""
COMMANDS = {
    "help": ["--help"],
    "version": ["--version"],
    "predict": ["predict", "image.fits", "--json"],
    "plot": ["predict", "image.fits", "--plot", "pictures"],
    "scan": ["scan", "images", "--out", "found.parquet", "--workers", "1"],
    "inspect": ["inspect", "image.fits", "--json"],
    "monitor": ["monitor", "new", "--ledger", "sqlite:///ledger.db"],
    "blobs": ["blobs", "--ledger", "sqlite:///ledger.db"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with an image, a directory of new exposures, and an empty home directory."""
    folder = tmp_path_factory.mktemp("run")
    write_image(folder / "image.fits", image_with_blobs([]), ROOTNAME="izzz0000q")
    for name in ("new", "home", "images"):
        (folder / name).mkdir()
    write_exposure(folder / "new", 0)
    shutil.copy(folder / "image.fits", folder / "images")
    return folder


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_command_contacts_no_host_and_leaves_home_empty(folder, arguments):
    home = folder / "home"
    own = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "MPLCONFIGDIR": ""}
    own |= {name: "" for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    command = [sys.executable, "-c", GUARD, *arguments]
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    files = [path for path in home.rglob("*") if path.is_file() and path.parent.name != "matplotlib"]
    assert files == []


def test_guard_catches_a_connection():
    code = GUARD.replace("main()", "import socket; socket.create_connection(('192.0.2.1', 80))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "connection to 192.0.2.1" in done.stderr


@pytest.mark.parametrize("value", ["0", "false"])
def test_value_of_the_user_is_kept(value):
    code = "import os, blobwatch; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    own = os.environ | {"ORT_DISABLE_TELEMETRY": value, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == value
