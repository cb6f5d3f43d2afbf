"""Readers for ``dvc.yaml``, ``params.yaml`` and ``dvc.lock`` that do not import DVC."""

import re
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import yaml

from blobwatch.errors import BlobwatchError

KINDS = ("outs", "metrics", "plots")


class Loader(yaml.CSafeLoader):
    """YAML loader that reads 1e-05 as a number, like DVC."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


@dataclass(frozen=True)
class Stage:
    """One stage of ``dvc.yaml``, with its ``${…}`` templates resolved."""

    name: str
    command: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]
    frozen: bool


@dataclass(frozen=True)
class LockedStage:
    """One stage of ``dvc.lock``: the command, the parameters, and the hash of each input and output."""

    command: str
    deps: dict[str, str]
    params: dict
    outs: dict[str, str]


def read_stages(root: Path) -> dict[str, Stage]:
    """Return the stages of a project in the order of ``dvc.yaml``.

    Raises
    ------
    BlobwatchError
        If a file is missing or not valid YAML, or a template names an unknown parameter.
    """
    pipeline, params = read_yaml(Path(root) / "dvc.yaml"), read_yaml(Path(root) / "params.yaml")
    return {
        name: Stage(
            name,
            resolve(str(entry["cmd"]), params),
            tuple(sorted(resolve(path, params) for path in entry.get("deps", []))),
            tuple(sorted(entry.get("params", []))),
            tuple(sorted(resolve(path_of(out), params) for kind in KINDS for out in entry.get(kind, []))),
            bool(entry.get("frozen", False)),
        )
        for name, entry in pipeline.get("stages", {}).items()
    }


def path_of(out: str | dict) -> str:
    """Return the path of an output, which is a mapping if it has options."""
    return next(iter(out)) if isinstance(out, dict) else out


def upstream(stages: dict[str, Stage], *names: str) -> list[str]:
    """Return the given stages and their dependencies, in the order of ``dvc.yaml``."""
    makers = {out: stage.name for stage in stages.values() for out in stage.outs}
    wanted, todo = set(), list(names)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += [makers[path] for path in stages[name].deps if path in makers]
    return [name for name in stages if name in wanted]


def parse_lock(text: str) -> dict[str, LockedStage]:
    """Parse the text of a ``dvc.lock``; empty if it is invalid."""
    try:
        stages = yaml.load(text, Loader)["stages"]
        return {
            name: LockedStage(
                entry["cmd"],
                {one["path"]: one["md5"] for one in entry.get("deps", [])},
                entry.get("params", {}).get("params.yaml", {}),
                {one["path"]: one["md5"] for one in entry.get("outs", [])},
            )
            for name, entry in stages.items()
        }
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}


def resolve(text: str, params: dict) -> str:
    """Return the text with each ``${section.key}`` replaced by its value."""
    return re.sub(r"\$\{\s*([\w.-]+)\s*\}", lambda found: str(get_param(params, found[1])), text)


def get_param(params: dict, name: str) -> object:
    """Return the value of a dotted name in ``params.yaml``."""
    try:
        return reduce(lambda section, key: section[key], name.split("."), params)
    except (KeyError, TypeError):
        raise BlobwatchError(f"params.yaml has no {name}, which dvc.yaml uses. Add it") from None


def read_yaml(path: Path) -> dict:
    """Read a YAML file that contains a mapping."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except FileNotFoundError:
        raise BlobwatchError(f"{path} does not exist. Run blobwatch in the project's folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BlobwatchError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise BlobwatchError(f"{path}: not a YAML mapping. Restore it with `git checkout {path.name}`")
    return content
