"""DVC's cache, read without DVC: a file by its md5, a folder by the listing that its hash names."""

import configparser
import json
from dataclasses import dataclass
from pathlib import Path

FILES = Path("files/md5")


@dataclass(frozen=True)
class Cache:
    """The cache of a project.

    Attributes
    ----------
    home : Path
        The cache's folder.
    own : bool
        Whether it lies in the project's ``.dvc``; another one may be shared with other projects.
    """

    home: Path
    own: bool

    @classmethod
    def of(cls, root: Path) -> "Cache":
        """Return the cache that a project's ``.dvc/config`` and ``.dvc/config.local`` name."""
        config = configparser.ConfigParser(interpolation=None)
        dvc = Path(root) / ".dvc"
        config.read([dvc / "config", dvc / "config.local"])
        named = config.get("cache", "dir", fallback=None)
        default = dvc / "cache"
        return cls(dvc / named if named else default, own=named is None)

    def path(self, md5: str) -> Path:
        """Return where the bytes with a hash lie, if they are here."""
        return self.home / FILES / md5[:2] / md5[2:]

    def listing(self, md5: str) -> dict[str, str] | None:
        """Return the md5 of each file of a folder by its path there; None if the listing is not here."""
        try:
            return {one["relpath"]: one["md5"] for one in json.loads(self.path(md5).read_bytes())}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def needed(self, md5: str) -> set[str]:
        """Return the hashes under which a file, or a folder and all in it, lies here."""
        inside = self.listing(md5) if md5.endswith(".dir") else None
        return {md5, *(inside or {}).values()}

    def stored(self) -> dict[str, Path]:
        """Return all that lies here, by its hash."""
        found = (path for path in sorted((self.home / FILES).glob("??/*")) if path.is_file())
        return {path.parent.name + path.name: path for path in found}
