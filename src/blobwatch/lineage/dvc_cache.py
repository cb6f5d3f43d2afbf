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

    def needed(self, hashes: set[str]) -> tuple[set[str], set[str]]:
        """Return hashes with those of all that is in the folders, and the folders without a listing."""
        inside = {one: self.listing(one) for one in hashes if one.endswith(".dir")}
        unknown = {one for one, listing in inside.items() if listing is None}
        return hashes.union(*(listing.values() for listing in inside.values() if listing)), unknown

    def stored(self) -> dict[str, Path]:
        """Return all that lies here, by its hash."""
        found = (path for path in sorted((self.home / FILES).glob("??/*")) if path.is_file())
        return {path.parent.name + path.name: path for path in found}
