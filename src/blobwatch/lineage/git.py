"""Read access to the project's git repository: checkout, commit and history."""

import re
import subprocess
from pathlib import Path

EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/[^/]+")
INPUTS = (
    "src",
    "params.yaml",
    "dvc.yaml",
    "requirements.lock",
    "data/labels",
    "data/overrules",
    "data/templates",
    ":(glob)data/**/*.dvc",
)


def git(root: Path, *arguments: str) -> str | None:
    """Run git and return its output, or None after a failure."""
    try:
        result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return result.stdout.rstrip("\n") if result.returncode == 0 else None


def experiment_home(root: Path) -> Path | None:
    """Return the project whose queued DVC experiment runs in ``root``, else None."""
    root = Path(root).resolve()
    for folder in (root, *root.parents):
        if folder.parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[3]
    return None


def main_checkout(root: Path) -> Path:
    """Return the project's permanent folder, given any of its worktrees.

    DVC deletes ``.dvc/tmp/exps/tmp…`` after a queued experiment, and worktrees may be deleted at any time.
    Permanent files are therefore stored in the main checkout.
    """
    root = experiment_home(root) or Path(root).resolve()
    output = git(root, "rev-parse", "--path-format=absolute", "--git-common-dir", "--show-prefix")
    if output is None:
        return root
    common, _, prefix = output.partition("\n")
    # Submodules and bare repositories have their git folder elsewhere, and no other checkout.
    return Path(common).parent / prefix if Path(common).name == ".git" else root


def is_side_checkout(root: Path) -> bool:
    """Return whether this is a worktree or experiment folder, where deployment is disabled."""
    return main_checkout(root) != Path(root).resolve()


def commit(root: Path) -> str:
    """Return the current commit, or an empty string."""
    return git(root, "rev-parse", "HEAD") or ""


def commit_time(root: Path, commit: str) -> int | None:
    """Return the time of a commit in milliseconds; None if it is unknown."""
    seconds = git(root, "show", "--no-patch", "--format=%ct", commit)
    return int(seconds) * 1000 if seconds else None


def branch(root: Path) -> str:
    """Return the current branch; an empty string if HEAD is detached."""
    return git(root, "symbolic-ref", "--short", "-q", "HEAD") or ""


def uncommitted(root: Path) -> list[str]:
    """Return the pipeline inputs with uncommitted changes.

    Inputs are code, parameters, pipeline, environment and pinned data. Outside a repository, or without a
    commit, all of ``INPUTS`` is returned.
    """
    output = git(root, "status", "--porcelain", "--untracked-files=all", "--no-renames", "--", *INPUTS)
    if output is None or not commit(root):
        return list(INPUTS)
    return sorted(line[3:] for line in output.splitlines())


def experiments(root: Path) -> list[tuple[str, str]]:
    """Return name and commit of each DVC experiment, sorted by name."""
    listed = git(root, "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps") or ""
    references = [line.split() for line in sorted(listed.splitlines())]
    # refs/exps/<2 digits>/<38 digits>/<name>; DVC keeps others for its own use.
    return sorted((ref.split("/")[-1], sha) for ref, sha in references if EXPERIMENT.fullmatch(ref))


def files_at(root: Path, commit: str, paths: list[str]) -> dict[str, bytes]:
    """Read the files of a commit below some paths; empty if it is unknown."""
    if not paths or git(root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        return {}
    listed = git(root, "ls-tree", "-r", "-z", commit, "--", *paths) or ""
    blobs = {}
    for entry in filter(None, listed.split("\0")):
        header, path = entry.split("\t", 1)
        blobs[path] = header.split()[2]
    contents = read_objects(root, list(blobs.values()))
    return {path: content for path, content in zip(blobs, contents, strict=True) if content is not None}


def versions_of(root: Path, path: str, of: str = "--all") -> list[tuple[str, bytes]]:
    """Return commit and content of each version of a file, newest first."""
    commits = (git(root, "log", of, "--format=%H", "--", path) or "").split()
    found = read_objects(root, [f"{commit}:./{path}" for commit in commits])
    return [(commit, content) for commit, content in zip(commits, found, strict=True) if content is not None]


def versions_since_added(root: Path, path: str) -> tuple[list[tuple[str, bytes]], str]:
    """Return the versions of a file since it was last added, newest first.

    The second value is the commit that added it again; it is empty if the file was added only once.
    """
    versions = versions_of(root, path, of="HEAD")
    added = git(root, "log", "HEAD", "--diff-filter=A", "--format=%H", "--", path) or ""
    if len(added.split()) < 2:
        return versions, ""
    newest = added.split()[0]
    index = next(number for number, (commit, _) in enumerate(versions) if commit == newest)
    return versions[: index + 1], newest


def read_objects(root: Path, objects: list[str]) -> list[bytes | None]:
    """Read git objects with one process; missing ones are None."""
    names = "".join(f"{name}\n" for name in objects).encode()
    command = ["git", "cat-file", "--batch"]
    stream = subprocess.run(command, cwd=root, input=names, capture_output=True, check=True).stdout
    found: list[bytes | None] = []
    start = 0
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
    """Return the name and address from git's configuration, else the account name."""
    name, email = git(root, "config", "user.name"), git(root, "config", "user.email")
    if name:
        return f"{name} <{email}>" if email else name
    import getpass

    return getpass.getuser()
