"""The table of odd FITS files: each has one oddity that occurs in real folders.

``PYTHONPATH=tests python -m instrument.oddtable FOLDER`` writes them all.
"""

import bz2
import gzip
import sys
from functools import partial
from pathlib import Path

import numpy as np
from instrument.oddfiles import (
    CARDS,
    GAIN,
    MARKED,
    TIMES,
    Odd,
    bare,
    card,
    constant,
    dark,
    dq,
    edited,
    files,
    flat,
    flt,
    image,
    light,
    lower_case,
    null_padded,
    primary,
    product,
    ramp,
    science,
    table,
    tiled,
    uncalibrated,
    write,
)

THUMBNAIL = np.ones((64, 64), np.float32)
undecided = r"exposure or difference image\?.*PRODUCT = DIFFERENCE.*--stack FILE or --history DIR"
counted = MARKED / TIMES[-1]  # of values that are not per second

TABLES = {
    "flt": {
        "plain": flt(),
        "byte beyond ASCII in a comment": (
            edited(card(b"PROPOSID", b"PROPOSID=  14000 / caf\xe9")),
            "beyond ASCII",
        ),
        "byte beyond ASCII in the SCI header": (
            edited(card(b"BUNIT", b"BUNIT   = 'ELECTRONS/S' / \xb5m")),
            r"extension 1, card \d+ \(BUNIT\)",
        ),
        "unquoted name": (
            edited(card(b"OBSTYPE", b"PR_INV_L= O'Connell / investigator")),
            r"card \d+ \(PR_INV_L\): a value",
        ),
        "unquoted filter": (edited(card(b"FILTER", b"FILTER  = F153M / filter")), r"\(FILTER\)"),
        "text without end": (edited(card(b"FILTER", b"FILTER  = 'F153M / filter")), r"\(FILTER\)"),
        "remark without =": (edited(card(b"OBSTYPE", b"REMARK   taken in a hurry")), 'no "= "'),
        "date without =": (edited(card(b"EXPSTART", b"EXPSTART 57400.5")), r'\(EXPSTART\): no "= "'),
        "= in the wrong column": (edited(card(b"EXPSTART", b"EXPSTART =57400.5")), r"\(EXPSTART\)"),
        "null padding of a header": (edited(null_padded), "not padded with blanks"),
        "null card": (edited(card(b"OBSTYPE", b"\0" * 80)), "null bytes"),
        "last data block not padded": (
            edited(
                lambda content: content.rstrip(b"\0"), files(primary, partial(constant, "DQ", 0), science)
            ),
            "last block is not padded",
        ),
        "last header block not padded": (
            edited(lambda content: content.rstrip(b" ")),
            "last block is not padded",
        ),
        "rubbish at the end": (
            edited(lambda content: content + b"<html>" * 99),
            "594 bytes after the last extension",
        ),
        "zeros at the end": edited(lambda content: content + b"\0" * 2880),
        "gzip": edited(partial(gzip.compress, compresslevel=1), flat),
        "bzip2": edited(bz2.compress, flat),
        "tiles": tiled,
        "thumbnail in the primary": files(partial(primary, THUMBNAIL), science, dq),
        "thumbnail first": files(primary, image(THUMBNAIL, "PREVIEW"), science, dq),
        "smaller SCI first": files(
            primary, science(THUMBNAIL), science, image(THUMBNAIL.astype(np.int16), "DQ"), dq
        ),
        "two science images": (
            files(primary, science, partial(science, light() + 1, 2), dq),
            r"several images \(extensions 1 \(SCI\), 2 \(SCI\)\)",
        ),
        "no DQ": (files(primary, science, partial(constant, "ERR", 0.1)), "no DQ extension"),
        "nothing but SCI": (files(primary, science), "no DQ extension"),
        "SCI without unit and DQ": (
            files(primary, partial(science, None, 1, None)),
            "no usable BUNIT; ELECTRONS/S",
        ),
        "image in the primary": (
            lambda path: write(path, primary(light(), BUNIT="ELECTRONS/S")),
            "no DQ extension",
        ),
        "PRODUCT names an exposure": (
            lambda path: write(path, primary(light(), PRODUCT="EXPOSURE", BUNIT="ELECTRONS/S")),
            "no DQ",
        ),
        "keywords in the SCI header": lambda path: write(path, bare(), science(None, 1, **CARDS), dq()),
        "keywords in lower case": edited(lower_case),
        "values in lower case": lambda path: write(
            path, primary(FILTER="f153m", DETECTOR="ir"), science(None, 1, "electrons/s"), dq()
        ),
        "numbers as text": flt(EXPSTART="57400.5", EXPTIME=" 3.02932D+02", SUBARRAY="F", NSAMP="5"),
        "no DATE-OBS": flt(**{"DATE-OBS": None, "TIME-OBS": None}),
        "no EXPSTART": flt(EXPSTART=None),
        "EXPSTART is no number": flt(EXPSTART="unknown"),
        "date and time in DATE-OBS": flt(
            **{"EXPSTART": None, "TIME-OBS": None, "DATE-OBS": "2016-01-13T12:00:00.0"}
        ),
        "edited EXPTIME": (flt(EXPTIME=30.0), r"EXPTIME is 30 s; the 302\.932 s of its reads"),
        "no EXPTIME": (flt(EXPTIME=None), "no usable EXPTIME"),
        "constant planes without a size": files(
            primary, science, partial(constant, "ERR", 0.1, None), partial(constant, "DQ", 0, None)
        ),
        "constant science plane": files(primary, partial(constant, "SCI", MARKED, BUNIT="ELECTRONS/S"), dq),
        "flags as floats": files(primary, science, partial(image, np.zeros((1014, 1014), np.float32), "DQ")),
        "BLANK beside floats": edited(
            card(b"REMARK", b"BLANK   =  -1"), files(primary, partial(science, REMARK=""), dq)
        ),
        "flt in electrons": (files(primary, partial(science, None, 1, "ELECTRONS"), dq), "", counted),
        "flt in counts": (files(primary, partial(science, None, 1, "COUNTS"), dq), "", counted),
        "flt in counts per second": files(primary, partial(science, None, 1, "COUNTS/S"), dq),
    },
    "ima": {
        "ima": ramp,
        "ima in electrons": partial(ramp, unit="ELECTRONS"),
        "ima in counts": (partial(ramp, unit="COUNTS", FLATCORR="COMPLETE"), "", MARKED / GAIN),
        "ima in counts per second": (partial(ramp, unit="COUNTS/S"), "", MARKED / GAIN),
        "ima without planes": (partial(ramp, planes=False), "no DQ extension"),
        "ima with an edited EXPTIME": (partial(ramp, EXPTIME=500.0), "EXPTIME is 500 s"),
    },
    "raw": {
        "raw": (uncalibrated, "", MARKED / GAIN),
        "raw that claims to be flat-fielded": (
            partial(uncalibrated, FLATCORR="COMPLETE", PFLTFILE="iref$x_pfl.fits"),
            "",
            MARKED / GAIN,
        ),
    },
    "refused": {
        "ramp without a read": (partial(ramp, unit="COUNTS", lost=1), "holds 4 of 5 reads"),
        "ramp backwards": (partial(ramp, backwards=True), "oldest read first"),
        "lit without a keyword": (lambda path: write(path, bare(light(1024))), undecided),
        "SCI of an exposure around zero": (files(primary, partial(science, dark(1014), 1, None)), undecided),
        "electrons around zero": (lambda path: write(path, primary(dark(), BUNIT="ELECTRONS/S")), undecided),
        "cut in the data": (edited(lambda content: content[:-9000]), "truncated"),
        "cut in a header": (edited(lambda content: content[: content.rindex(b"PIXVALUE")]), "truncated"),
        "cut by one byte": (
            edited(lambda content: content.rstrip(b"\0")[:-1], files(primary, science)),
            "truncated",
        ),
        "cut gzip": (edited(lambda content: gzip.compress(content, 1)[:-50], flat), "truncated"),
        "another shape": (files(primary, science(THUMBNAIL), dq), "image is 64 x 64"),
        "subarray as text": (flt(SUBARRAY="T"), "subarray"),
        "UVIS": (
            lambda path: write(path, primary(DETECTOR="UVIS"), science(np.ones((512, 1024), np.float32))),
            "UVIS",
        ),
        "another instrument in SCI": (
            lambda path: write(path, bare(), science(None, 1, **(CARDS | {"INSTRUME": "ACS"})), dq()),
            "ACS IR frame",
        ),
        "grism in lower case": (flt(FILTER="g141"), "grism"),
        "a dark": (flt(IMAGETYP="dark"), ": dark"),
        "no date": (flt(**{"EXPSTART": None, "DATE-OBS": None}), "no EXPSTART"),
        "no duration": (flt(EXPTIME=0.0, SAMP_SEQ=None), "EXPTIME is 0 s"),
        "no pixel": (
            lambda path: write(path, primary(), science(np.full((1014, 1014), np.nan, np.float32)), dq()),
            "no finite pixel",
        ),
        "truncated tiles": (edited(lambda content: content[: len(content) // 2], tiled), "truncated"),
        "single read": (
            files(partial(primary, NSAMP=1), partial(science, light(1024), 1, "COUNTS"), dq),
            "holds a single read",
        ),
        "difference of another shape": (lambda path: write(path, bare(THUMBNAIL)), "image is 64 x 64"),
        "difference of UVIS": (lambda path: write(path, primary(dark(), DETECTOR="UVIS")), "WFC3 UVIS frame"),
        "difference without a pixel": (lambda path: write(path, bare(dark() * np.nan)), "no finite pixel"),
        "flags of another shape": (
            files(primary, science, partial(image, THUMBNAIL.astype(np.int16), "DQ")),
            "image is 64 x 64",
        ),
        "spectroscopic": (flt(OBSTYPE="SPECTROSCOPIC"), r"grism exposure \(F153M\)"),
        "a bias": (flt(IMAGETYP="BIAS"), ": bias"),
        "dark as target": (flt(TARGNAME="DARK", FILTER="Blank"), ": dark"),
        "neither duration nor sequence": (flt(EXPTIME=None, SAMP_SEQ=None), "no EXPTIME"),
        "a picture": (lambda path: path.write_bytes(b"\x89PNG\r\n"), "not a readable FITS"),
        "zeros": (lambda path: path.write_bytes(b"\0" * 5760), "not a readable FITS"),
        "empty": (Path.touch, "not a readable FITS"),
        "a folder": (Path.mkdir, "not a readable FITS file .Is a directory"),
        "absent": (lambda path: None, "not a readable FITS file .No such file"),
        "SCI without pixels": (files(primary, partial(image, None), dq), "no image"),
        "a line": (lambda path: write(path, bare(np.zeros(100, np.float32))), "no image"),
        "flags alone": (files(primary, dq), "no image"),
        "a table": (files(bare, table), "no image"),
        "a text": (
            lambda path: path.write_text("SIMPLE is better than complex\n" * 200),
            "not a readable FITS",
        ),
    },
    "difference": {
        "image without a header": lambda path: write(path, bare(dark())),
        "cube": lambda path: write(path, bare(np.stack([dark(), dark() + 3, dark() + 5]))),
        "extension": files(bare, partial(image, dark(), "IMAGE")),
        "cube in an extension": lambda path: write(path, bare(), image(np.stack([dark(), dark() + 3]), "")),
        "frame of a flt": lambda path: write(path, bare(dark(1014))),
        "after a thumbnail": files(partial(bare, THUMBNAIL), partial(image, dark(), "IMAGE")),
        "two images": (
            files(bare, partial(image, dark(), "A"), partial(image, dark() + 1, "B")),
            r"1 \(A\), 2 \(B\)\); the first",
        ),
        "product with DIFF last": product,
        "header of an exposure": lambda path: write(path, primary(dark())),
        "SCI without keywords": files(bare, partial(image, dark())),
        "PRODUCT of ours in SCI": lambda path: write(
            path, primary(PRODUCT="DIFFERENCE"), science(dark()), dq()
        ),
        "byte beyond ASCII": (
            edited(card(b"FILTER", b"FILTER  = 'F153M' / \xe9"), lambda path: write(path, primary(dark()))),
            "beyond ASCII",
        ),
    },
}
ODD_FILES = [
    Odd(name, kind, *(entry if isinstance(entry, tuple) else (entry,)))
    for kind, table in TABLES.items()
    for name, entry in table.items()
]


def write_all(folder: Path) -> None:
    """Write each file of the table into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for odd in ODD_FILES:
        odd.write(folder / f"{odd.name.replace(' ', '_')}{odd.ending}")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
