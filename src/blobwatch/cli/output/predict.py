"""Output of ``blobwatch predict`` and ``blobwatch inspect``: JSON, tables and figures per file."""

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from blobwatch.cli.models import find_model_or_version
from blobwatch.cli.output.printing import print_json, print_table
from blobwatch.errors import BlobwatchError, RejectedExposure
from blobwatch.files import atomic_file
from blobwatch.history import History
from blobwatch.images.quality_limits import LABELS, suspect_message
from blobwatch.images.tiling import PER_SIDE
from blobwatch.inspection import Inspection, inspect
from blobwatch.instrument.calibration import Calibration, dflat_warning, read_calibration
from blobwatch.instrument.differences import read_difference
from blobwatch.instrument.exposure_files import list_exposures
from blobwatch.instrument.fitsfile import open_fits
from blobwatch.instrument.flats import FlatFields
from blobwatch.instrument.keywords import merge_headers
from blobwatch.instrument.kinds import is_difference
from blobwatch.overrules import read_overrules
from blobwatch.predict import Prediction, Predictor
from blobwatch.progress import print_file_warning, print_message
from blobwatch.settings import load_settings


def run_predict(
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
    """Print the prediction for each file; return whether all files were usable."""
    used = load_settings(settings).difference
    predictor = Predictor.load(find_model_or_version(model))
    if plot:
        make_figure_folder(plot)
    stack_image, stack_flats = read_stack(stack) if stack else (None, "")
    fields = FlatFields(flats) if flats else None
    calibrations: list[Calibration] = []

    @cache  # the headers are read once, and only if a file is an exposure
    def load_history() -> History | None:
        listed = list_exposures(history, report=print_message, strict=False) if history else []
        calibrations.extend(one.calibration for one in listed)
        return History(listed, used, read_overrules(overrules), fields) if history or stack else None

    problems: Counter[type[BlobwatchError]] = Counter()
    exposures = 0
    for path in files:
        try:
            is_exposure, calibration = read_kind(path)
            calibrations.append(calibration)
            exposures += is_exposure
            past = load_history() if is_exposure else None
            prediction = predictor.predict_file(path, stack_image, past, stack_flats)
            if plot:
                from blobwatch.figures.prediction import plot_prediction

                write_figure(plot_prediction(prediction), plot, path)
            if as_json:
                print_json(prediction.as_json())
            else:
                print_prediction(prediction)
        except BlobwatchError as error:
            problems[type(error)] += 1
            print_error(error, "image", path, as_json)
    if flats is None and (warning := dflat_warning(calibrations)):
        print_message(warning, "yellow")
    if warning := suspect_message(problems[RejectedExposure], exposures, used.quality):
        print_message(warning, "bold yellow")
    return not problems


def print_error(error: BlobwatchError, key: str, path: Path, as_json: bool) -> None:
    """Print the error of a file."""
    if as_json:
        print_json({key: str(path), "error": str(error)})
    print_message(f"blobwatch: {error}", "red")


def read_kind(path: Path) -> tuple[bool, Calibration]:
    """Return whether a file is an exposure, and its calibration."""
    with open_fits(path, only_image=True) as hdus:
        return not is_difference(hdus, path), read_calibration(merge_headers(*hdus[:2]))


def read_stack(path: Path) -> tuple[np.ndarray, str]:
    """Return the median stack of a file, and its flats.

    The stack is the extension STACK, or the first image.
    """
    found = read_difference(path)
    stack = found.stack if found.stack is not None else found.image
    level = float(np.nanmedian(stack))
    if not abs(level) < 1.5:  # a stack in electrons would give a wrong difference without an error
        raise BlobwatchError(
            f"{path}: not a median stack, its median is {level:.3g}. Pass a stack in fractions of the "
            "background (median about 1, or 0 if 1 is subtracted), or --history"
        )
    return stack, "none" if found.header.get("FLATUNDO") else read_calibration(found.header).flats


def make_figure_folder(folder: Path) -> None:
    """Create the directory of the figures."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BlobwatchError(
            f"{folder}: cannot be created ({error.strerror}). Pass another directory with --plot"
        ) from None


def write_figure(figure, folder: Path, image: Path) -> None:
    """Write a figure, named after the image file."""
    path = folder / f"{image.name.split('.')[0]}.png"
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=100)
    print_message(f"figure: {path}")


def print_prediction(prediction: Prediction) -> None:
    """Print the blobs and a grid of the subframes' probabilities."""
    out = Console()
    version = prediction.model["version"]
    out.print(
        f"\n[bold]{escape(prediction.image)}[/bold]  {prediction.kind}, model "
        f"{'version ' + str(version) if version else prediction.model['sha256'][:12]}, "
        f"threshold {prediction.threshold:.2f}, {prediction.masked.sum()} bad pixels masked",
        soft_wrap=True,
    )
    if prediction.blobs:
        rows = []
        for b in prediction.blobs:
            cells = (f"{b.x:.1f}", f"{b.y:.1f}", f"{b.radius:.1f}", f"{b.probability:.3f}", f"{b.snr:.1f}")
            rows.append((*cells, f"{100 * b.depth:.2f} %"))
        print_table(("x", "y", "radius", "probability", "SNR", "depth"), rows, border=True)
    else:
        out.print("no new blob")
    if prediction.residuals:
        out.print(f"{len(prediction.residuals)} detections left out as residuals of old blobs")
    grid = []
    for row in reversed(range(PER_SIDE)):
        values = prediction.probabilities[row * PER_SIDE : (row + 1) * PER_SIDE]
        grid.append([f"[bold]{p:.2f}[/bold]" if p >= prediction.threshold else f"{p:.2f}" for p in values])
    title = "probability per subframe, top row first"
    print_table([""] * PER_SIDE, grid, border=True, title=title, show_header=False)


def run_inspect(
    files: list[Path], settings: Path | None, overrules: Path, as_json: bool, plot: Path | None
) -> bool:
    """Print a description of each file; return whether all files were readable."""
    used, decisions = load_settings(settings).difference, read_overrules(overrules)
    if plot:
        make_figure_folder(plot)
    readable = True
    for path in files:
        try:
            found = inspect(path, used, decisions)
        except BlobwatchError as error:
            readable = False
            print_error(error, "file", path, as_json)
            continue
        if plot and found.image is not None and found.statistics:
            from blobwatch.figures.inspection import plot_inspection

            write_figure(plot_inspection(found), plot, path)
        if as_json:
            for text in found.warnings:
                print_file_warning(f"{path}: {text}")
            print_json(found.as_json())
        else:
            print_inspection(found)
    return readable


def print_inspection(found: Inspection) -> None:
    """Print the description of a file."""
    out = Console()
    out.print(f"\n[bold]{escape(str(found.path))}[/bold]  {found.kind}", soft_wrap=True)
    out.print(escape(found.use), soft_wrap=True, style="green" if found.usable else "red")
    for text in found.warnings:
        out.print(escape(f"warning: {text}"), soft_wrap=True, style="yellow")
    extensions = []
    for one in found.extensions:
        shape = " x ".join(map(str, one["shape"])) or "-"
        extensions.append((str(one["number"]), f"{one['name']},{one['version']}", shape, one["stored"]))
    columns = ("", "extension", "shape", "stored as")
    print_table(columns, extensions, border=True, title="extensions", title_justify="left")
    header = [(key, escape(str(value))) for key, value in found.header.items()]
    for title, rows in [("header", header), *list_statistics(found)]:
        print_table(("", ""), rows, border=True, title=title, title_justify="left", show_header=False)
    if found.statistics and found.image is not None:
        from blobwatch.figures.inspection import REACH, histogram

        counts, _ = histogram(found.image, 48)
        bars = "▁▂▃▄▅▆▇█"
        heights = np.log1p(counts) / np.log1p(counts.max()) * (len(bars) - 1)
        out.print("".join(bars[round(height)] for height in heights))
        out.print(
            f"pixels (logarithmic), {-REACH:g} to {REACH:g} sigma about the level; outliers in the ends"
        )


def list_statistics(found: Inspection) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the tables of numbers of a file: title and rows."""
    tables = []
    if values := found.statistics:
        rows = [("level", f"{values['level']:.5g}"), ("noise per pixel", f"{values['noise']:.3g}")]
        rows += [("finite", f"{100 * values['finite']:.2f} %")]
        rows += [(f"{step} % below", f"{value:.5g}") for step, value in values["percentiles"].items()]
        tables.append((f"pixels, {values['unit'] or 'no unit'}", rows))
    if found.quality:
        measures = found.quality.as_dict().items()
        rows = [(LABELS[name], f"{value:.4g}") for name, value in measures if not np.isnan(value)]
        tables.append(("quality", rows))
    if found.flags:
        rows = [(str(bit), f"{count} ({100 * count / 1014**2:.2f} %)") for bit, count in found.flags.items()]
        tables.append(("data-quality bits", rows))
    return tables
