"""The archive that the tests ask, in this process and from the program itself."""

import os
import signal
import subprocess
import sys

import pytest
from archive.mastserver import Held, MastServer
from tenacity import wait_none

DAY = 57400.25  # 2016-01-13
NO_WAIT = wait_none()


def some_exposures() -> list[Held]:
    """Return three dark-Earth exposures; two of them stand behind an association."""
    return [
        Held("icxx01aaq", DAY, association="icxx01010"),
        Held("icxx01abq", DAY + 0.02, association="icxx01010"),
        Held("icxx02acq", DAY + 3.0),
    ]


@pytest.fixture
def archive(monkeypatch):
    """The local archive, to which this process's astroquery and boto3 are turned."""
    from astroquery.mast import conf
    from astroquery.mast.discovery_portal import PortalAPI

    with MastServer(some_exposures()) as server:
        monkeypatch.setattr(PortalAPI, "MAST_REQUEST_URL", f"{server.url}/api/v0/invoke")
        monkeypatch.setattr(
            PortalAPI, "COLUMNS_CONFIG_URL", f"{server.url}/portal/Mashup/Mashup.asmx/columnsconfig"
        )
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("CRDS_SERVER_URL", f"{server.url}/")
        with conf.set_temp("server", server.url):
            yield server


class Program:
    """``blobwatch fetch`` as a process, in a folder of its own, turned to an archive in settings."""

    def __init__(self, folder, server: MastServer):
        settings = folder / "settings"
        (settings / "astropy").mkdir(parents=True)
        (settings / "astropy/astroquery.cfg").write_text(f"[mast]\nserver = {server.url}\n")
        self.folder = folder / "work"
        self.folder.mkdir()
        self.environment = os.environ | {"XDG_CONFIG_HOME": str(settings), "XDG_CACHE_HOME": str(settings)}
        self.environment |= {"AWS_ENDPOINT_URL": server.url, "NO_PROXY": "127.0.0.1"}
        self.environment |= {"CRDS_SERVER_URL": server.url}

    def start(self, *words: str) -> subprocess.Popen:
        # Tests that run in the background ignore Ctrl-C, and so would what they start.
        return subprocess.Popen(
            [sys.executable, "-m", "blobwatch.cli", "fetch", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run it; return exit status, stdout and stderr."""
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture
def program(tmp_path):
    """The program and its archive."""
    with MastServer(some_exposures()) as server:
        yield Program(tmp_path, server), server
