"""Direct read access to DVC's cache, which stores files and folder listings by md5."""

import configparser
import json
from dataclasses import dataclass
from pathlib import Path

FILES = Path("files/md5")


@dataclass(frozen=True)
class Cache:
    """The DVC cache of a project.

    Attributes
    ----------
    home : Path
        Directory of the cache.
    own : bool
        Whether it is inside the project's ``.dvc``. Other locations may be shared with other projects.
    """

    home: Path
    own: bool

    @classmethod
    def of(cls, root: Path) -> "Cache":
        """Return the cache set in ``.dvc/config`` and ``.dvc/config.local``."""
        config, dvc = read_config(root), Path(root) / ".dvc"
        configured = config.get("cache", "dir", fallback=None)
        default = dvc / "cache"
        return cls(dvc / configured if configured else default, own=configured is None)

    def path(self, md5: str) -> Path:
        """Return the path of an object, which may be missing."""
        return self.home / FILES / md5[:2] / md5[2:]

    def listing(self, md5: str) -> dict[str, str] | None:
        """Map relative path to md5 for a folder; None if its listing is missing."""
        try:
            return {entry["relpath"]: entry["md5"] for entry in json.loads(self.path(md5).read_bytes())}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def needed(self, hashes: set[str]) -> tuple[set[str], set[str]]:
        """Add the hashes of files in folders; also return folders whose listing is missing."""
        listings = {md5: self.listing(md5) for md5 in hashes if md5.endswith(".dir")}
        missing = {md5 for md5, listing in listings.items() if listing is None}
        return hashes.union(*(listing.values() for listing in listings.values() if listing)), missing

    def stored(self) -> dict[str, Path]:
        """Return the path of each cached object by its hash."""
        paths = (path for path in sorted((self.home / FILES).glob("??/*")) if path.is_file())
        return {path.parent.name + path.name: path for path in paths}


def read_config(root: Path) -> configparser.ConfigParser:
    """Return DVC's settings of a project."""
    config = configparser.ConfigParser(interpolation=None)
    config.read([Path(root) / ".dvc" / name for name in ("config", "config.local")])
    return config


def restoring_command(root: Path) -> str:
    """Return the command that restores missing outputs.

    Without a remote, only the pipeline can restore them.
    """
    has_remote = any("remote " in section for section in read_config(root).sections())
    return "dvc pull" if has_remote else "dvc repro"
