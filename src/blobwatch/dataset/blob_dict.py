"""Safe reader for the public predecessor's ``blob_dict.npy``, which contains a pickle.

A pickle can call arbitrary functions, so the file is read without executing any of them:

1. Instructions that a dict of arrays does not need are rejected.
2. The pickle is loaded with placeholders that record their arguments. Unknown names are rejected.
3. The arrays are decoded from the recorded bytes.
"""

import io
import math
import pickle
import pickletools
import re
from pathlib import Path

import numpy as np

from blobwatch.dataset.cutouts import create_templates
from blobwatch.errors import BlobwatchError
from blobwatch.instrument.templates import FILE, write_templates
from blobwatch.progress import print_message

MAX_FILE_SIZE = 4_000_000  # bytes; the 27 cutouts take 0.1 MB
MAX_INSTRUCTIONS = 10_000  # 27 cutouts take about 1,000
# The instructions with which protocols 0 to 4 write a dict of arrays.
INSTRUCTIONS = re.compile(
    "PROTO|FRAME|STOP|MARK|MEMOIZE|((LONG_)?BIN)?(PUT|GET)|NONE|NEWTRUE|NEWFALSE|INT|LONG1?|BININT[12]?"
    "|((SHORT_)?BIN)?UNICODE|(SHORT_)?BINBYTES8?|(EMPTY_)?TUPLE|TUPLE[123]|(EMPTY_)?LIST|APPENDS?"
    "|(EMPTY_)?DICT|SETITEMS?|(STACK_)?GLOBAL|REDUCE|BUILD"
)
NUMBER = re.compile(r"[fiu][1248]|b1")
REMEDY = "Save a dict of plain arrays with np.save"


class UnsafePickle(Exception):
    """The pickle contains something that a dict of arrays does not need."""


class Recorded:
    """A name in the pickle, or a call of that name.

    For a call, ``arguments`` and ``state`` describe the result. For a name, both are None.
    """

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple | None = None) -> None:
        self.name, self.arguments = name, arguments
        self.state: object = None

    def __call__(self, *arguments: object) -> "Recorded":
        if self.name == "type" or self.arguments is not None:
            raise UnsafePickle("a call of a type")
        return Recorded(self.name, arguments)

    def __setstate__(self, state: object) -> None:
        if self.arguments is None or self.state is not None:
            raise UnsafePickle("a state for a function or type, or two states for one array")
        self.state = state


NAMES = {
    ("numpy", "ndarray"): "type",
    ("numpy", "dtype"): "dtype",
    ("numpy.core.multiarray", "_reconstruct"): "array",  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): "array",  # numpy 2
    ("_codecs", "encode"): "bytes",  # in old protocols
}


class SafeUnpickler(pickle.Unpickler):
    """Unpickler that only records the calls of the allowed names."""

    def find_class(self, module: str, name: str) -> Recorded:
        """Return a placeholder of an allowed name."""
        if (module, name) not in NAMES:
            raise UnsafePickle(f"the name {shorten(f'{module}.{name}')}")
        return Recorded(NAMES[module, name])


def read_blob_dict(path: Path) -> dict[str, np.ndarray]:
    """Return the cutouts of a ``blob_dict.npy`` without executing its pickle.

    Parameters
    ----------
    path : Path
        An ``.npy`` file that contains one dict of numeric arrays by name.

    Returns
    -------
    dict of str to ndarray, float64
        In the order of the file.

    Raises
    ------
    BlobwatchError
        If the file has another format, is too large, or contains anything else.
    """
    payload = read_pickle_bytes(path)
    try:
        check_instructions(payload)
        return decode_cutouts(SafeUnpickler(io.BytesIO(payload), fix_imports=False).load())
    except UnsafePickle as error:
        raise BlobwatchError(
            f"{path}: not a plain dict of cutouts: it contains {error}. Nothing was executed. {REMEDY}"
        ) from None
    except Exception as error:  # a damaged pickle can raise any exception
        raise BlobwatchError(
            f"{path}: damaged ({shorten(str(error))}). Copy it again, or: {REMEDY}"
        ) from None


def import_blobs(path: Path, out: Path) -> None:
    """Write templates from the cutouts of a ``blob_dict.npy``.

    Raises
    ------
    BlobwatchError
        If the file is rejected or no cutout is usable; ``out`` stays unchanged.
    """
    templates, left_out = create_templates(read_blob_dict(path))
    write_templates(out, templates, path)
    if left_out:
        print_message(f"skipped, no blob above the noise: {', '.join(left_out)}", "yellow")
    sizes = [template.half_width for template in templates]
    print_message(
        f"{len(templates)} templates in {out / FILE}, half-widths {min(sizes):.1f} to {max(sizes):.1f} px; "
        "commit it, then run `dvc repro`",
        "",
    )


def read_pickle_bytes(path: Path) -> bytes:
    """Return the pickle inside an ``.npy`` file that holds one object."""
    if not path.is_file():
        raise BlobwatchError(f"{path}: not a file. Pass the predecessor's blob_dict.npy")
    if path.stat().st_size > MAX_FILE_SIZE:
        raise BlobwatchError(
            f"{path}: larger than {MAX_FILE_SIZE // 10**6} MB. Pass a file that contains only cutouts"
        )
    with path.open("rb") as stream:
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("only long headers need a later version")
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        except Exception:  # a damaged header can raise any exception
            raise BlobwatchError(f"{path}: not a valid .npy file. {REMEDY}") from None
        if shape != () or dtype != np.dtype(object):
            raise BlobwatchError(f"{path}: contains an array instead of a dict of cutouts. {REMEDY}")
        return stream.read()


def check_instructions(payload: bytes) -> None:
    """Reject a pickle with instructions that a dict of arrays does not need."""
    end = 0
    for number, (instruction, argument, position) in enumerate(pickletools.genops(payload)):
        if not INSTRUCTIONS.fullmatch(instruction.name):
            raise UnsafePickle(f"the pickle instruction {instruction.name}")
        # The argument is an index of the memo table, whose length follows from it.
        if instruction.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > MAX_INSTRUCTIONS:
            raise UnsafePickle("a memo index that is too large")
        if number > MAX_INSTRUCTIONS:
            raise UnsafePickle(f"more than {MAX_INSTRUCTIONS:,} instructions")
        end = (position or 0) + 1
    if end != len(payload):
        raise UnsafePickle("bytes after its end")


def decode_cutouts(outer: object) -> dict[str, np.ndarray]:
    """Return the arrays of the dict inside the outermost array."""
    match get_array_state(outer):
        case (1, (), Recorded(name="dtype", arguments=("O8", *_)), _, [content]) if type(content) is dict:
            return {check_name(key): decode_array(key, value) for key, value in content.items()}
    raise UnsafePickle("something other than one dict")


def get_array_state(value: object) -> object:
    """Return the state of a recorded array, None for anything else."""
    match value:
        case Recorded(name="array", arguments=(Recorded(name="type", arguments=None), (0,), start)):
            return value.state if decode_bytes(start) == b"b" else None
    return None


def check_name(key: object) -> str:
    """Return a key that is a short name of letters and digits."""
    if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", key):
        raise UnsafePickle(f"the cutout name {shorten(repr(key)) if isinstance(key, str) else type(key)}")
    return key


def decode_array(key: str, value: object) -> np.ndarray:
    """Decode the numbers of a recorded array."""
    match get_array_state(value):
        case (1, tuple(shape), Recorded(name="dtype") as dtype, fortran, content):
            number, content = decode_dtype(dtype), decode_bytes(content)
        case _:
            raise UnsafePickle(f"a value of {key!r} that is not a plain array")
    valid_shape = all(type(side) is int and side >= 0 for side in shape)
    if content is None or not valid_shape or math.prod(shape) * number.itemsize != len(content):
        raise UnsafePickle(f"an array {key!r} whose shape does not match its bytes")
    flat = np.frombuffer(content, number).astype(np.float64)
    return flat.reshape(shape, order="F" if fortran is True else "C")


def decode_bytes(value: object) -> bytes | None:
    """Return recorded bytes, None for anything else."""
    match value:
        case bytes():
            return value
        case Recorded(name="bytes", arguments=(str(text), "latin1"), state=None):
            return text.encode("latin1")
    return None


def decode_dtype(dtype: Recorded) -> np.dtype:
    """Return a numeric data type without fields, subtype, flags or metadata."""
    match dtype.arguments, dtype.state:
        case (str(code), False, True), (3, "<" | ">" | "|" as order, None, None, None, -1, -1, 0):
            if NUMBER.fullmatch(code):
                return np.dtype(order + code)
    raise UnsafePickle(
        f"the data type {shorten(str(dtype.arguments and dtype.arguments[0]))}, which is not a plain number"
    )


def shorten(text: str) -> str:
    """Return text as one short line of printable characters."""
    plain = text.encode("ascii", "backslashreplace").decode()
    plain = "".join(char if char.isprintable() else "?" for char in plain)
    return plain if len(plain) <= 80 else f"{plain[:77]}..."
