"""Update the command outputs in the documentation: ``python docs/run_commands.py`` in the project directory.

Every ``console`` block with a command on ``examples/`` is run, and so is each ``python`` block that names
it. In the shown output, a line ``...`` stands for omitted lines, and a line that ends with `` ...`` is cut.
The picture of the README is drawn too. ``tests/docs/test_commands.py`` compares all this with real outputs.
"""

import io
import re
import shlex
import sys
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from blobwatch import progress
from blobwatch.cli import main as run_command_line
from blobwatch.files import file_hash

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "prediction.png"
MODEL = ROOT / "models" / "champion" / "model.onnx"
BLOCK = re.compile(r"(?<=```)(console|python)\n(.*?)(?=```)", re.DOTALL)
TIMING = re.compile(r" \([\d.]+ per second\)")
PROGRESS_BAR = re.compile(r"^.*━ +\d+/\d+ .*\n", re.MULTILINE)


def main() -> None:
    """Write the real outputs into every page, and draw the picture."""
    for page in list_pages():
        text = page.read_text(encoding="utf-8")
        page.write_text(update_page(text), encoding="utf-8")
    draw_picture()


def list_pages() -> list[Path]:
    """Return the pages with a command or a program on the examples."""
    pages = [ROOT / "README.md", *sorted(ROOT.glob("examples/*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in pages if any(map(is_runnable, list_blocks(page.read_text(encoding="utf-8"))))]


def list_blocks(text: str) -> list[tuple[str, str]]:
    """Return the language and the content of each block of a page."""
    return BLOCK.findall(text)


def is_runnable(block: tuple[str, str]) -> bool:
    """Return whether a block can be run in a fresh clone."""
    language, content = block
    commands = [line for line in content.splitlines() if language == "python" or line.startswith("$ ")]
    return any(line == "$ make demo" or re.search(r"^[^#]*\bexamples\b", line) for line in commands)


def update_page(text: str) -> str:
    """Return a page with the real outputs of its blocks."""

    def update(match: re.Match) -> str:
        language, content = match.groups()
        return f"{language}\n{update_block(language, content) if is_runnable(match.groups()) else content}"

    return BLOCK.sub(update, text)


def update_block(language: str, content: str) -> str:
    """Return a block with the real outputs of its commands, shortened like the shown ones."""
    if language == "python":
        lines = content.splitlines()
        code = [line for line in lines if not line.startswith("# ")]
        return "".join(f"{line}\n" for line in code) + re.sub(
            "(?m)^(?=.)", "# ", run_program("\n".join(code))
        )
    parts = re.split(r"^\$ (.*)\n", content, flags=re.MULTILINE)[1:]
    with TemporaryDirectory() as name:
        for directory in ("examples", "models"):
            (Path(name) / directory).symlink_to(ROOT / directory)
        with chdir(name):
            shown = zip(parts[::2], parts[1::2], strict=True)
            return "".join(f"$ {command}\n{shorten(run(command), output)}" for command, output in shown)


def run(command: str) -> str:
    """Return the output of a command, without progress bars, timings and spaces at the ends of lines."""
    words = shlex.split(command, comments=True)
    if words == ["make", "demo"]:
        return "".join(map(run_recipe_line, demo_recipe()))
    if words[0] != "blobwatch":
        raise ValueError(f"$ {command}: only blobwatch and `make demo` can be run. Remove it from the block")
    output = io.StringIO()
    with (
        patch.object(sys, "argv", words),
        patch.object(progress, "printed_warnings", set()),
        patch.dict("os.environ", {"COLUMNS": "80"}),
        warnings.catch_warnings(),
        redirect_stdout(output),
        redirect_stderr(output),
        suppress(SystemExit),
    ):
        run_command_line()
    text = TIMING.sub("", PROGRESS_BAR.sub("", output.getvalue().lstrip("\n")))
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


def demo_recipe() -> list[str]:
    """Return the lines of the recipe of `make demo`."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    venv = re.search(r"^DEMO_VENV := (.*)$", makefile, re.MULTILINE)[1]
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    return [line.strip().replace("$(DEMO_VENV)", venv) for line in recipe.splitlines()]


def run_recipe_line(line: str) -> str:
    """Return what make prints for a line of a recipe: the command, unless silent, and its output."""
    words = shlex.split(line.removeprefix("@"))
    if words[0] == "echo":
        return " ".join(words[1:]) + "\n"
    return f"{line}\n{run(shlex.join(['blobwatch', *words[1:]]))}"


def run_program(code: str) -> str:
    """Return the output of a Python program that runs in the project directory."""
    output = io.StringIO()
    with chdir(ROOT), redirect_stdout(output):
        exec(compile(code, "block", "exec"), {})
    return output.getvalue()


def shorten(output: str, shown: str) -> str:
    """Return an output with the lines omitted and cut that are omitted and cut in the shown one."""
    lines, old = output.splitlines(), shown.splitlines()
    if "..." in old:
        first = old.index("...")
        last = len(old) - first - 1
        lines = [*lines[:first], "...", *lines[len(lines) - last :]]
    if len(lines) == len(old):
        cuts = [len(line) - 4 if line.endswith(" ...") else None for line in old]
        lines = [f"{line[:cut]} ..." if cut else line for line, cut in zip(lines, cuts, strict=True)]
    return "".join(f"{line}\n" for line in lines)


def draw_picture() -> None:
    """Draw the prediction for the example exposure, as `make demo` does, in few colours."""
    from PIL import Image, PngImagePlugin

    with TemporaryDirectory() as name, chdir(ROOT):
        command = next(line for line in demo_recipe() if "--stack" in line)
        run(re.sub(r"^\S+(.*) --plot \S+$", rf"blobwatch\1 --plot {name}", command))
        (picture,) = Path(name).glob("*.png")
        about = PngImagePlugin.PngInfo()
        about.add_text("model", file_hash(MODEL))
        Image.open(picture).convert("RGB").quantize(64).save(PICTURE, pnginfo=about, optimize=True)


if __name__ == "__main__":
    main()
