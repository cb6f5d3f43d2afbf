"""What git says about the project's folder: its main checkout, its commit, its history."""

import subprocess
from pathlib import Path

INPUTS = (
    "src",
    "params.yaml",
    "dvc.yaml",
    "requirements.lock",
    "data/labels",
    "data/overrules",
    "data/templates",
)
INPUTS += (":(glob)data/**/*.dvc",)


def git(root: Path, *arguments: str) -> str | None:
    """Return what git prints, or None where there is no git, no repository or no such thing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def experiment_home(root: Path) -> Path | None:
    """Return the project whose queued DVC experiment runs in ``root``, or None if it is no such folder."""
    root = Path(root).resolve()
    for folder in (root, *root.parents):
        if folder.parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[3]
    return None


def main_checkout(root: Path) -> Path:
    """Return the project's folder that outlives worktrees and DVC's temporary experiment folders.

    DVC deletes ``.dvc/tmp/exps/tmp…`` after a queued experiment, and a worktree may go at any time: what is
    to be kept is kept here.
    """
    root = experiment_home(root) or Path(root).resolve()
    said = git(root, "rev-parse", "--path-format=absolute", "--git-common-dir", "--show-prefix")
    if said is None:
        return root
    common, _, prefix = said.partition("\n")
    # A submodule or a bare repository keeps its git folder elsewhere: then there is no other checkout.
    return Path(common).parent / prefix if Path(common).name == ".git" else root


def is_aside(root: Path) -> bool:
    """Tell whether this is a worktree or a queued experiment's folder, from which nothing is deployed."""
    return main_checkout(root) != Path(root).resolve()


def commit(root: Path) -> str:
    """Return the commit that is checked out, or an empty string."""
    return git(root, "rev-parse", "HEAD") or ""


def branch(root: Path) -> str:
    """Return the branch that is checked out, or an empty string on none."""
    return git(root, "symbolic-ref", "--short", "-q", "HEAD") or ""


def uncommitted(root: Path) -> list[str]:
    """Return the paths among code, parameters, pipeline, environment and pinned data that the commit lacks.

    Outside a repository nothing is committed, so all of them are named.
    """
    said = git(root, "status", "--porcelain", "--untracked-files=all", "--no-renames", "--", *INPUTS)
    if said is None or not commit(root):
        return list(INPUTS)
    return sorted(line[3:] for line in said.splitlines())


def history(root: Path, path: str, of: str = "--all") -> list[str]:
    """Return the commits that changed a path, newest first: of all branches, or up to one commit."""
    said = git(root, "log", of, "--format=%H", "--", path)
    return said.split() if said else []


def files_at(root: Path, commit: str, paths: list[str]) -> dict[str, bytes]:
    """Return the content of each file that a commit has at or below some paths; nothing without it."""
    if not paths or git(root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        return {}
    listed = git(root, "ls-tree", "-r", "-z", commit, "--", *paths) or ""
    blobs = {}
    for entry in filter(None, listed.split("\0")):
        about, path = entry.split("\t", 1)
        blobs[path] = about.split()[2]
    return dict(zip(blobs, contents(root, list(blobs.values())), strict=True))


def versions_of(root: Path, path: str, of: str = "--all") -> list[tuple[str, bytes]]:
    """Return commit and content of each version of a file in the history, newest first."""
    commits = history(root, path, of)
    found = contents(root, [f"{commit}:./{path}" for commit in commits])
    return [(commit, content) for commit, content in zip(commits, found, strict=True) if content is not None]


def since_added(root: Path, path: str) -> tuple[list[tuple[str, bytes]], str]:
    """Return the versions of a file since it was last added, newest first.

    With them comes the commit that added it, if the history has an earlier file of that name; else nothing.
    """
    versions = versions_of(root, path, of="HEAD")
    added = git(root, "log", "HEAD", "--diff-filter=A", "--format=%H", "--", path) or ""
    if len(added.split()) < 2:
        return versions, ""
    newest = added.split()[0]
    last = next(number for number, (commit, _) in enumerate(versions) if commit == newest)
    return versions[: last + 1], newest


def contents(root: Path, objects: list[str]) -> list[bytes | None]:
    """Return the bytes of objects of git, None for one that is missing, by one process for all."""
    wanted = "".join(f"{one}\n" for one in objects).encode()
    command = ["git", "cat-file", "--batch"]
    stream = subprocess.run(command, cwd=root, input=wanted, capture_output=True, check=True).stdout
    found, start = [], 0
    for _ in objects:
        end = stream.index(b"\n", start)
        header, start = stream[start:end].split(), end + 1
        if header[-1] == b"missing":
            found.append(None)
            continue
        size = int(header[-1])
        found.append(stream[start : start + size])
        start += size + 1
    return found


def author(root: Path) -> str:
    """Return who works here: git's name and address, else the name of the account."""
    name, email = git(root, "config", "user.name"), git(root, "config", "user.email")
    if name:
        return f"{name} <{email}>" if email else name
    import getpass

    return getpass.getuser()
