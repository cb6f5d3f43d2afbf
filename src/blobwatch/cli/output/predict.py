"""The answers of ``predict`` and ``inspect``: JSON or tables per file; a bad file stops no other."""

import json
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from blobwatch.cli.models import find_model_or_version
from blobwatch.errors import BlobwatchError, RejectedExposure
from blobwatch.history import History
from blobwatch.images.rejection import LABELS, suspect_message
from blobwatch.images.tiling import PER_SIDE
from blobwatch.inspection import Inspection, inspect
from blobwatch.instrument.calibration import Calibration, dflat_warning, read_calibration
from blobwatch.instrument.differences import read_difference
from blobwatch.instrument.exposure_files import list_exposures
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.flats import FlatFields
from blobwatch.instrument.keywords import merged
from blobwatch.instrument.kinds import EXPOSURE, kind_of
from blobwatch.overrules import read_overrules
from blobwatch.predict import Prediction, Predictor
from blobwatch.progress import print_file_warning, print_message
from blobwatch.settings import load_settings


def answer_files(
    files: list[Path],
    model: str,
    stack: Path | None,
    history: Path | None,
    settings: Path | None,
    flats: Path | None,
    overrules: Path,
    as_json: bool,
    plot: Path | None,
) -> bool:
    """Judge files one after the other; print an answer for each; return whether all could be used."""
    used = load_settings(settings).difference
    predictor = Predictor.load(find_model_or_version(model))
    if plot:
        make_folder(plot)
    known_stack, stack_flats = read_stack(stack) if stack else (None, "")
    fields = FlatFields(flats) if flats else None

    @cache  # the headers of the folder are read once, and only if an exposure needs them
    def earlier() -> History | None:
        listed = list_exposures(history, report=print_message, strict=False) if history else []
        calibrations.extend(one.calibration for one in listed)
        return History(listed, used, read_overrules(overrules), fields) if history or stack else None

    problems, exposures, calibrations = Counter(), 0, []
    for path in files:
        try:
            kind, calibration = describe(path)
            calibrations.append(calibration)
            exposures += kind == EXPOSURE
            past = earlier() if kind == EXPOSURE else None
            answer = predictor.predict_file(path, known_stack, past, stack_flats)
            if plot:
                save_picture(answer, plot)
            if as_json:
                print(json.dumps(answer.as_json()))
            else:
                print_table(answer)
        except BlobwatchError as error:
            problems[type(error)] += 1
            if as_json:
                print(json.dumps({"image": str(path), "error": str(error)}))
            print_message(f"blobwatch: {error}", "red")
    if flats is None and (warning := dflat_warning(calibrations)):
        print_message(warning, "yellow")
    if warning := suspect_message(problems[RejectedExposure], exposures, used.quality):
        print_message(warning, "bold yellow")
    return not problems


def describe(path: Path) -> tuple[str, Calibration]:
    """Return the kind of a file, and its calibration."""
    with open_fits(path, only_image=True) as hdus:
        return kind_of(hdus, path), read_calibration(merged(*hdus[:2]))


def read_stack(path: Path) -> tuple[np.ndarray, str]:
    """Return the median stack of a file, its STACK extension or first image, and the key of its flats."""
    found = read_difference(path)
    stack = found.stack if found.stack is not None else found.image
    level = float(np.nanmedian(stack))
    if not abs(level) < 1.5:  # electrons: the answer would be wrong without a sign of it
        raise BlobwatchError(
            f"{path} is no median stack: its median is {level:.3g}, that of a stack in fractions of the "
            "background is about 1 or, where 1 was taken off, 0; give a stack, or --history"
        )
    return stack, "none" if found.header.get("FLATUNDO") else read_calibration(found.header).flats


def make_folder(folder: Path) -> None:
    """Make the folder for the pictures, before any work is done."""
    if find_spec("matplotlib") is None:
        raise BlobwatchError("--plot needs matplotlib; install it with: pip install matplotlib")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BlobwatchError(f"{folder} cannot be made a folder for pictures: {error.strerror}") from None


def save_picture(answer: Prediction, folder: Path) -> None:
    """Write the picture of an answer under the name of its file."""
    from blobwatch.figures.prediction import plot_prediction

    write_picture(plot_prediction(answer), folder, Path(answer.image))


def write_picture(figure, folder: Path, image: Path) -> None:
    """Write a figure under the name of its file, and say where."""
    from blobwatch.files import atomic_file

    path = folder / f"{image.name.split('.')[0]}.png"
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=100)
    print_message(f"picture: {path}")


def print_table(answer: Prediction) -> None:
    """Print an answer for people: the blobs, and the sixteen probabilities as they lie in the frame."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    out = Console()
    version = answer.model["version"]
    out.print(
        f"\n[bold]{escape(answer.image)}[/bold]  {answer.kind}, model "
        f"{'version ' + str(version) if version else answer.model['sha256'][:12]}, "
        f"threshold {answer.threshold:.2f}, {answer.masked.sum()} bad pixels masked",
        soft_wrap=True,
    )
    if answer.blobs:
        blobs = Table("x", "y", "radius", "probability", "SNR", "depth")
        for b in answer.blobs:
            cells = [b.x, b.y, b.radius, b.probability, b.snr]
            texts = [f"{value:.{3 if i == 3 else 1}f}" for i, value in enumerate(cells)]
            blobs.add_row(*texts, f"{100 * b.depth:.2f} %")
        out.print(blobs)
    else:
        out.print("no new blob")
    if answer.residuals:
        out.print(f"{len(answer.residuals)} left out: at an old blob and faint beside it, so its residual")
    grid = Table(title="probability per subframe, top row first", show_header=False)
    for row in reversed(range(PER_SIDE)):
        chances = answer.probabilities[row * PER_SIDE : (row + 1) * PER_SIDE]
        grid.add_row(*(f"[bold]{p:.2f}[/bold]" if p >= answer.threshold else f"{p:.2f}" for p in chances))
    out.print(grid)


def answer_inspect(
    files: list[Path], settings: Path | None, overrules: Path, as_json: bool, plot: Path | None
) -> bool:
    """Look at files one after the other; print what each is; return whether all could be read."""
    used, decisions = load_settings(settings).difference, read_overrules(overrules)
    if plot:
        make_folder(plot)
    all_well = True
    for path in files:
        try:
            found = inspect(path, used, decisions)
        except BlobwatchError as error:
            all_well = False
            if as_json:
                print(json.dumps({"file": str(path), "error": str(error)}))
            print_message(f"blobwatch: {error}", "red")
            continue
        if plot and found.image is not None and found.statistics:
            from blobwatch.figures.inspection import plot_inspection

            write_picture(plot_inspection(found), plot, path)
        if as_json:
            for text in found.warnings:
                print_file_warning(f"{path}: {text}")
            print(json.dumps(found.as_json()))
        else:
            print_inspection(found)
    return all_well


def print_inspection(found: Inspection) -> None:
    """Print what a file is, for people."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    out = Console()
    out.print(f"\n[bold]{escape(str(found.path))}[/bold]  {found.kind}", soft_wrap=True)
    out.print(escape(found.use), soft_wrap=True, style="green" if found.usable else "red")
    for text in found.warnings:
        out.print(escape(f"warning: {text}"), soft_wrap=True, style="yellow")
    extensions = Table("", "extension", "shape", "stored as", title="extensions", title_justify="left")
    for one in found.extensions:
        shape = " x ".join(map(str, one["shape"])) or "-"
        extensions.add_row(str(one["number"]), f"{one['name']},{one['version']}", shape, one["stored"])
    out.print(extensions)
    header = Table(title="header", show_header=False, title_justify="left")
    for key, value in found.header.items():
        header.add_row(key, escape(str(value)))
    out.print(header)
    for title, rows in tables_of(found):
        table = Table(title=title, show_header=False, title_justify="left")
        for name, value in rows:
            table.add_row(name, value)
        out.print(table)
    if found.statistics:
        from blobwatch.figures.inspection import REACH, histogram

        counts, _ = histogram(found.image, 48)
        bars = "▁▂▃▄▅▆▇█"
        heights = np.log1p(counts) / np.log1p(counts.max()) * (len(bars) - 1)
        out.print("".join(bars[round(height)] for height in heights))
        out.print(f"pixels, logarithmic, {-REACH:g} to {REACH:g} sigma about the level, ends with all beyond")


def tables_of(found: Inspection) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the tables of numbers of an inspected file: title and rows."""
    tables = []
    if known := found.statistics:
        rows = [("level", f"{known['level']:.5g}"), ("noise per pixel", f"{known['noise']:.3g}")]
        rows += [("finite", f"{100 * known['finite']:.2f} %")]
        rows += [(f"{step} % below", f"{value:.5g}") for step, value in known["percentiles"].items()]
        tables.append((f"pixels, {known['unit'] or 'no unit'}", rows))
    if found.quality:
        known = found.quality.as_dict().items()
        rows = [(LABELS[name], f"{value:.4g}") for name, value in known if not np.isnan(value)]
        tables.append(("quality", rows))
    if found.flags:
        rows = [(str(bit), f"{count} ({100 * count / 1014**2:.2f} %)") for bit, count in found.flags.items()]
        tables.append(("data-quality bits", rows))
    return tables
