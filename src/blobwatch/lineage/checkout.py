"""What git says about the project's folder: its main checkout, its commit, what is not committed."""

import subprocess
from pathlib import Path

INPUTS = ("src", "params.yaml", "dvc.yaml", "requirements.lock")


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
    """Return the paths among code, parameters, pipeline and lock file that differ from the commit.

    Outside a repository nothing is committed, so all of them are named.
    """
    said = git(root, "status", "--porcelain", "--untracked-files=all", "--no-renames", "--", *INPUTS)
    if said is None or not commit(root):
        return list(INPUTS)
    return sorted(line[3:] for line in said.splitlines())


def author(root: Path) -> str:
    """Return who works here: git's name and address, else the name of the account."""
    name, email = git(root, "config", "user.name"), git(root, "config", "user.email")
    if name:
        return f"{name} <{email}>" if email else name
    import getpass

    return getpass.getuser()
