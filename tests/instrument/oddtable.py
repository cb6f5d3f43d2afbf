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

EXPOSURES = [
    Odd("plain", flt()),
    Odd(
        "byte beyond ASCII in a comment",
        edited(card(b"PROPOSID", b"PROPOSID=  14000 / caf\xe9")),
        says="beyond ASCII",
    ),
    Odd(
        "byte beyond ASCII in the SCI header",
        edited(card(b"BUNIT", b"BUNIT   = 'ELECTRONS/S' / \xb5m")),
        says=r"extension 1, card \d+ \(BUNIT\)",
    ),
    Odd(
        "unquoted name",
        edited(card(b"OBSTYPE", b"PR_INV_L= O'Connell / investigator")),
        says=r"card \d+ \(PR_INV_L\): a value",
    ),
    Odd("unquoted filter", edited(card(b"FILTER", b"FILTER  = F153M / filter")), says=r"\(FILTER\)"),
    Odd("text without end", edited(card(b"FILTER", b"FILTER  = 'F153M / filter")), says=r"\(FILTER\)"),
    Odd("remark without =", edited(card(b"OBSTYPE", b"REMARK   taken in a hurry")), says='no "= "'),
    Odd("date without =", edited(card(b"EXPSTART", b"EXPSTART 57400.5")), says=r'\(EXPSTART\): no "= "'),
    Odd("= in the wrong column", edited(card(b"EXPSTART", b"EXPSTART =57400.5")), says=r"\(EXPSTART\)"),
    Odd("null padding of a header", edited(null_padded), says="not padded with blanks"),
    Odd("null card", edited(card(b"OBSTYPE", b"\0" * 80)), says="null bytes"),
    Odd(
        "last data block not padded",
        edited(lambda content: content.rstrip(b"\0"), files(primary, partial(constant, "DQ", 0), science)),
        says="last block is not padded",
    ),
    Odd(
        "last header block not padded",
        edited(lambda content: content.rstrip(b" ")),
        says="last block is not padded",
    ),
    Odd(
        "rubbish at the end",
        edited(lambda content: content + b"<html>" * 99),
        says="594 bytes after the last extension",
    ),
    Odd("zeros at the end", edited(lambda content: content + b"\0" * 2880)),
    Odd("gzip", edited(partial(gzip.compress, compresslevel=1), flat), ending=".fits.gz"),
    Odd("bzip2", edited(bz2.compress, flat), ending=".fits.bz2"),
    Odd("tiles", tiled, ending=".fits.fz"),
    Odd("thumbnail in the primary", files(partial(primary, THUMBNAIL), science, dq)),
    Odd("thumbnail first", files(primary, image(THUMBNAIL, "PREVIEW"), science, dq)),
    Odd(
        "smaller SCI first",
        files(primary, science(THUMBNAIL), science, image(THUMBNAIL.astype(np.int16), "DQ"), dq),
    ),
    Odd(
        "two science images",
        files(primary, science, partial(science, light() + 1, 2), dq),
        says=r"several images \(extensions 1 \(SCI\), 2 \(SCI\)\)",
    ),
    Odd("no DQ", files(primary, science, partial(constant, "ERR", 0.1)), says="no DQ extension"),
    Odd("nothing but SCI", files(primary, science), says="no DQ extension"),
    Odd(
        "SCI without unit and DQ",
        files(primary, partial(science, None, 1, None)),
        says="no usable BUNIT; ELECTRONS/S",
    ),
    Odd(
        "image in the primary",
        lambda path: write(path, primary(light(), BUNIT="ELECTRONS/S")),
        says="no DQ extension",
    ),
    Odd(
        "PRODUCT names an exposure",
        lambda path: write(path, primary(light(), PRODUCT="EXPOSURE", BUNIT="ELECTRONS/S")),
        says="no DQ",
    ),
    Odd("keywords in the SCI header", lambda path: write(path, bare(), science(None, 1, **CARDS), dq())),
    Odd("keywords in lower case", edited(lower_case)),
    Odd(
        "values in lower case",
        lambda path: write(
            path, primary(FILTER="f153m", DETECTOR="ir"), science(None, 1, "electrons/s"), dq()
        ),
    ),
    Odd("numbers as text", flt(EXPSTART="57400.5", EXPTIME=" 3.02932D+02", SUBARRAY="F", NSAMP="5")),
    Odd("no DATE-OBS", flt(**{"DATE-OBS": None, "TIME-OBS": None})),
    Odd("no EXPSTART", flt(EXPSTART=None)),
    Odd("EXPSTART is no number", flt(EXPSTART="unknown")),
    Odd(
        "date and time in DATE-OBS",
        flt(**{"EXPSTART": None, "TIME-OBS": None, "DATE-OBS": "2016-01-13T12:00:00.0"}),
    ),
    Odd("edited EXPTIME", flt(EXPTIME=30.0), says=r"EXPTIME is 30 s; the 302\.932 s of its reads"),
    Odd("no EXPTIME", flt(EXPTIME=None), says="no usable EXPTIME"),
    Odd(
        "constant planes without a size",
        files(primary, science, partial(constant, "ERR", 0.1, None), partial(constant, "DQ", 0, None)),
    ),
    Odd("constant science plane", files(primary, partial(constant, "SCI", MARKED, BUNIT="ELECTRONS/S"), dq)),
    Odd("flags as floats", files(primary, science, partial(image, np.zeros((1014, 1014), np.float32), "DQ"))),
    Odd(
        "BLANK beside floats",
        edited(card(b"REMARK", b"BLANK   =  -1"), files(primary, partial(science, REMARK=""), dq)),
    ),
    Odd("flt in electrons", files(primary, partial(science, None, 1, "ELECTRONS"), dq), value=counted),
    Odd("flt in counts", files(primary, partial(science, None, 1, "COUNTS"), dq), value=counted),
    Odd("flt in counts per second", files(primary, partial(science, None, 1, "COUNTS/S"), dq)),
]
RAMPS = [
    Odd("ima", ramp, "ima"),
    Odd("ima in electrons", partial(ramp, unit="ELECTRONS"), "ima"),
    Odd("ima in counts", partial(ramp, unit="COUNTS", FLATCORR="COMPLETE"), "ima", value=MARKED / GAIN),
    Odd("ima in counts per second", partial(ramp, unit="COUNTS/S"), "ima", value=MARKED / GAIN),
    Odd("ima without planes", partial(ramp, planes=False), "ima", "no DQ extension"),
    Odd("ima with an edited EXPTIME", partial(ramp, EXPTIME=500.0), "ima", "EXPTIME is 500 s"),
    Odd("raw", uncalibrated, "raw", value=MARKED / GAIN),
    Odd(
        "raw that claims to be flat-fielded",
        partial(uncalibrated, FLATCORR="COMPLETE", PFLTFILE="iref$x_pfl.fits"),
        "raw",
        value=MARKED / GAIN,
    ),
    Odd("ramp without a read", partial(ramp, unit="COUNTS", lost=1), "refused", "holds 4 of 5 reads"),
    Odd("ramp backwards", partial(ramp, backwards=True), "refused", "oldest read first"),
]
DIFFERENCES = [
    Odd("image without a header", lambda path: write(path, bare(dark())), "difference"),
    Odd("cube", lambda path: write(path, bare(np.stack([dark(), dark() + 3, dark() + 5]))), "difference"),
    Odd("extension", files(bare, partial(image, dark(), "IMAGE")), "difference"),
    Odd(
        "cube in an extension",
        lambda path: write(path, bare(), image(np.stack([dark(), dark() + 3]), "")),
        "difference",
    ),
    Odd("frame of a flt", lambda path: write(path, bare(dark(1014))), "difference"),
    Odd("after a thumbnail", files(partial(bare, THUMBNAIL), partial(image, dark(), "IMAGE")), "difference"),
    Odd(
        "two images",
        files(bare, partial(image, dark(), "A"), partial(image, dark() + 1, "B")),
        "difference",
        r"1 \(A\), 2 \(B\)\); the first",
    ),
    Odd("product with DIFF last", product, "difference"),
    Odd("header of an exposure", lambda path: write(path, primary(dark())), "difference"),
    Odd("SCI without keywords", files(bare, partial(image, dark())), "difference"),
    Odd(
        "PRODUCT of ours in SCI",
        lambda path: write(path, primary(PRODUCT="DIFFERENCE"), science(dark()), dq()),
        "difference",
    ),
    Odd(
        "byte beyond ASCII",
        edited(card(b"FILTER", b"FILTER  = 'F153M' / \xe9"), lambda path: write(path, primary(dark()))),
        "difference",
        "beyond ASCII",
    ),
]
REFUSED = [
    Odd("lit without a keyword", lambda path: write(path, bare(light(1024))), "refused", undecided),
    Odd(
        "SCI of an exposure around zero",
        files(primary, partial(science, dark(1014), 1, None)),
        "refused",
        undecided,
    ),
    Odd(
        "electrons around zero",
        lambda path: write(path, primary(dark(), BUNIT="ELECTRONS/S")),
        "refused",
        undecided,
    ),
    Odd("cut in the data", edited(lambda content: content[:-9000]), "refused", "truncated"),
    Odd(
        "cut in a header",
        edited(lambda content: content[: content.rindex(b"PIXVALUE")]),
        "refused",
        "truncated",
    ),
    Odd(
        "cut by one byte",
        edited(lambda content: content.rstrip(b"\0")[:-1], files(primary, science)),
        "refused",
        "truncated",
    ),
    Odd(
        "cut gzip",
        edited(lambda content: gzip.compress(content, 1)[:-50], flat),
        "refused",
        "truncated",
        ending=".fits.gz",
    ),
    Odd("another shape", files(primary, science(THUMBNAIL), dq), "refused", "image is 64 x 64"),
    Odd("subarray as text", flt(SUBARRAY="T"), "refused", "subarray"),
    Odd(
        "UVIS",
        lambda path: write(path, primary(DETECTOR="UVIS"), science(np.ones((512, 1024), np.float32))),
        "refused",
        "UVIS",
    ),
    Odd(
        "another instrument in SCI",
        lambda path: write(path, bare(), science(None, 1, **(CARDS | {"INSTRUME": "ACS"})), dq()),
        "refused",
        "ACS IR frame",
    ),
    Odd("grism in lower case", flt(FILTER="g141"), "refused", "grism"),
    Odd("a dark", flt(IMAGETYP="dark"), "refused", ": dark"),
    Odd("no date", flt(**{"EXPSTART": None, "DATE-OBS": None}), "refused", "no EXPSTART"),
    Odd("no duration", flt(EXPTIME=0.0, SAMP_SEQ=None), "refused", "EXPTIME is 0 s"),
    Odd(
        "no pixel",
        lambda path: write(path, primary(), science(np.full((1014, 1014), np.nan, np.float32)), dq()),
        "refused",
        "no finite pixel",
    ),
    Odd(
        "truncated tiles",
        edited(lambda content: content[: len(content) // 2], tiled),
        "refused",
        "truncated",
        ending=".fits.fz",
    ),
    Odd(
        "single read",
        files(partial(primary, NSAMP=1), partial(science, light(1024), 1, "COUNTS"), dq),
        "refused",
        "holds a single read",
    ),
    Odd(
        "difference of another shape",
        lambda path: write(path, bare(THUMBNAIL)),
        "refused",
        "image is 64 x 64",
    ),
    Odd(
        "difference of UVIS",
        lambda path: write(path, primary(dark(), DETECTOR="UVIS")),
        "refused",
        "WFC3 UVIS frame",
    ),
    Odd(
        "difference without a pixel",
        lambda path: write(path, bare(dark() * np.nan)),
        "refused",
        "no finite pixel",
    ),
    Odd(
        "flags of another shape",
        files(primary, science, partial(image, THUMBNAIL.astype(np.int16), "DQ")),
        "refused",
        "image is 64 x 64",
    ),
    Odd("spectroscopic", flt(OBSTYPE="SPECTROSCOPIC"), "refused", r"grism exposure \(F153M\)"),
    Odd("a bias", flt(IMAGETYP="BIAS"), "refused", ": bias"),
    Odd("dark as target", flt(TARGNAME="DARK", FILTER="Blank"), "refused", ": dark"),
    Odd("neither duration nor sequence", flt(EXPTIME=None, SAMP_SEQ=None), "refused", "no EXPTIME"),
    Odd("a picture", lambda path: path.write_bytes(b"\x89PNG\r\n"), "refused", "not a readable FITS"),
    Odd("zeros", lambda path: path.write_bytes(b"\0" * 5760), "refused", "not a readable FITS"),
    Odd("empty", Path.touch, "refused", "not a readable FITS"),
    Odd("a folder", Path.mkdir, "refused", "not a readable FITS file .Is a directory"),
    Odd("absent", lambda path: None, "refused", "not a readable FITS file .No such file"),
    Odd("SCI without pixels", files(primary, partial(image, None), dq), "refused", "no image"),
    Odd("a line", lambda path: write(path, bare(np.zeros(100, np.float32))), "refused", "no image"),
    Odd("flags alone", files(primary, dq), "refused", "no image"),
    Odd("a table", files(bare, table), "refused", "no image"),
    Odd(
        "a text",
        lambda path: path.write_text("SIMPLE is better than complex\n" * 200),
        "refused",
        "not a readable FITS",
    ),
]
ODD_FILES = EXPOSURES + RAMPS + DIFFERENCES + REFUSED


def write_all(folder: Path) -> None:
    """Write each file of the table into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for odd in ODD_FILES:
        odd.write(folder / f"{odd.name.replace(' ', '_')}{odd.ending}")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
