"""The commands in the documentation exist, and those on the examples print what the pages show."""

import re
import shlex
import sys

import numpy as np
import pytest
import typer
from conftest import ROOT
from PIL import Image

from blobwatch.cli import app
from blobwatch.files import file_hash

sys.path.insert(0, str(ROOT / "docs"))
from run_commands import MODEL, PICTURE, is_runnable, list_blocks, list_pages, shorten, update_block

APP = typer.main.get_command(app)
PATTERNS = ("*.md", "examples/*.md", "docs/**/*.md")
PAGES = [path for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]
BLOCKS = [
    pytest.param(*block, id=f"{page.name}-{number}")
    for page in list_pages()
    for number, block in enumerate(list_blocks(page.read_text(encoding="utf-8")))
    if is_runnable(block)
]
REFRESH = "run `python docs/run_commands.py`, check the changes and commit them"


NUMBER = re.compile(r"\d+\.\d+")


@pytest.mark.parametrize(("language", "content"), BLOCKS)
def test_block_shows_real_output(language, content):
    real = update_block(language, content)
    assert NUMBER.split(content) == NUMBER.split(real), REFRESH
    # Another processor may round the last digit differently.
    shown, found = (np.array(NUMBER.findall(text), dtype=float) for text in (content, real))
    np.testing.assert_allclose(found, shown, rtol=0.01, err_msg=REFRESH)


def test_readme_shows_demo_with_output():
    blocks = list_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert blocks[0][1].startswith("$ make demo\n")
    assert "probability" in blocks[0][1]


def test_picture_is_of_deployed_model():
    assert Image.open(PICTURE).text["model"] == file_hash(MODEL), REFRESH


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page):
    blocks = list_blocks(page.read_text(encoding="utf-8"))
    console = "\n".join(content for language, content in blocks if language == "console")
    for line in re.findall(r"^\$ (blobwatch .*)$", console, re.MULTILINE):
        words = shlex.split(line, comments=True)
        options = {word.split("=")[0] for word in words if word.startswith("--")}
        command = APP if words[1].startswith("--") else APP.commands[words[1]]
        names = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        assert options - names == set(), line


def test_shortened_output_keeps_first_and_last_lines():
    assert shorten("a\nb\nc\nd\n", "A\n...\nD\n") == "a\n...\nd\n"
    assert shorten("abcdef\n", "ABC ...\n") == "abc ...\n"


def test_changed_output_is_found():
    block = "$ blobwatch inspect examples/no_blob_diff.fits.fz\nanother output\n"
    assert is_runnable(("console", block))
    assert update_block("console", block) != block
