"""Fixtures with a local archive, for tests in this process and of the command as a process."""

import os
import signal
import subprocess
import sys

import pytest
from archive.mast_server import ArchiveFile, MastServer

DAY = 57400.25  # 2016-01-13


def make_files() -> list[ArchiveFile]:
    """Return three dark-Earth exposures; two of them are members of an association."""
    return [
        ArchiveFile("icxx01aaq", DAY, association="icxx01010"),
        ArchiveFile("icxx01abq", DAY + 0.02, association="icxx01010"),
        ArchiveFile("icxx02acq", DAY + 3.0),
    ]


@pytest.fixture
def archive(monkeypatch):
    """Yield the local archive, used by astroquery and boto3 of this process."""
    from astroquery.mast import conf
    from astroquery.mast.discovery_portal import PortalAPI

    from blobwatch.archive import download

    monkeypatch.setattr(download, "WAIT", 0.0)
    with MastServer(make_files()) as server:
        monkeypatch.setattr(PortalAPI, "MAST_REQUEST_URL", f"{server.url}/api/v0/invoke")
        monkeypatch.setattr(
            PortalAPI, "COLUMNS_CONFIG_URL", f"{server.url}/portal/Mashup/Mashup.asmx/columnsconfig"
        )
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("CRDS_SERVER_URL", f"{server.url}/")
        with conf.set_temp("server", server.url):
            yield server


class FetchCommand:
    """``blobwatch fetch`` as a process in its own directory, with settings for a local archive."""

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
        # Tests in the background ignore SIGINT, and their child processes inherit this.
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
        """Run the command; return exit status, stdout and stderr."""
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture
def command(tmp_path):
    """Yield the command and its archive."""
    with MastServer(make_files()) as server:
        yield FetchCommand(tmp_path, server), server
