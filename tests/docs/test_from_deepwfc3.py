"""The page for users of the predecessor names existing functions, commands and files."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from blobwatch.cli import app

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "from-deepwfc3.md").read_text(encoding="utf-8")
ROWS = [line.split("|")[2:4] for line in PAGE.splitlines() if line.startswith("| ")][2:]
FUNCTIONS = re.findall(
    r"\w+",
    """
plot_pre_processed scale_data plot_scaled_blobs grab_full_subframes grab_random_subframe flip
add_blobs make_dataset save_generated_dataset generate_test_data BlobDataset Flatten UnFlatten
Classifier count_parameters format_dataset train_model validate_model build_model plot_metrics
confusion_matrix saliency_map check_incorrect_image BLOB_DICT
    """,
)


def read_names(cell: str) -> list[str]:
    """Return the dotted names in a cell; a later name of the same module omits the module."""
    names, module = [], ""
    for name in re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+|[A-Za-z_]+)(?:\(.*?\))?`", cell):
        module = name.rsplit(".", 1)[0] if "." in name else module
        names.append(name if "." in name else f"{module}.{name}")
    return names


def resolve(name: str):
    """Return the object of a dotted name of the package."""
    parts = name.split(".")
    count = next(n for n in range(len(parts), -1, -1) if is_module(parts[:n]))
    found = import_module(".".join(["blobwatch", *parts[:count]]))
    for part in parts[count:]:
        found = getattr(found, part)
    return found


def is_module(parts: list[str]) -> bool:
    try:
        import_module(".".join(["blobwatch", *parts]))
    except ModuleNotFoundError:
        return False
    return True


def test_each_predecessor_function_has_a_row():
    theirs = " ".join(row[0] for row in ROWS)
    assert [name for name in FUNCTIONS if f"`{name}`" not in theirs] == []


@pytest.mark.parametrize("cell", [row[1] for row in ROWS])
def test_names_in_row_exist(cell):
    for name in read_names(re.sub(r"`blobwatch [^`]*`|`reports/[^`]*`", "", cell)):
        assert resolve(name) is not None


def test_commands_on_page_exist():
    known = {(c.name or c.callback.__name__).replace("_", "-") for c in app.registered_commands}
    code = " ".join(re.findall(r"```.*?```|`[^`]+`", PAGE, re.DOTALL))
    named = set(re.findall(r"blobwatch ([a-z][a-z-]+)", code))
    assert named
    assert named - known == set()


def test_links_exist():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE)
    assert links
    assert [link for link in links if not (DOCS / link).exists()] == []
