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


class Placeholder:
    """Replacement for a name in the pickle; rejects calls and states."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> object:
        raise UnsafePickle("a call of a type")

    def __setstate__(self, state: object) -> None:
        raise UnsafePickle("a state for a function or type")


class RecordedCall(Placeholder):
    """Arguments of a call and the state assigned to its result."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state = None

    def __setstate__(self, state: object) -> None:
        if self.state is not None:
            raise UnsafePickle("two states for one array")
        self.state = state


class RecordedType(RecordedCall):
    """Recorded data type: code, such as f8, and byte order."""

    __slots__ = ()

    @property
    def code(self) -> str:
        """Return numpy's code of a plain data type."""
        code, order = self.arguments[0], self.state[1]
        plain = (3, order, None, None, None, -1, -1, 0)  # no fields, subtype, flags or metadata
        if self.arguments != (code, False, True) or self.state != plain:
            raise UnsafePickle("a data type that is not plain")
        if not isinstance(code, str) or order not in ("<", ">", "|"):
            raise UnsafePickle("a data type that is not plain")
        return order + code


class RecordedArray(RecordedCall):
    """Recorded array: shape, type and bytes."""

    __slots__ = ()


class TypePlaceholder(Placeholder):
    """Placeholder for numpy.dtype."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> RecordedType:
        return RecordedType(*arguments)


class ArrayPlaceholder(Placeholder):
    """Placeholder for numpy's function that creates an empty array."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> RecordedArray:
        if arguments != (NDARRAY, (0,), b"b"):
            raise UnsafePickle("an array that is not a plain numpy array")
        return RecordedArray()


class BytesPlaceholder(Placeholder):
    """Placeholder for _codecs.encode, which old protocols use for bytes."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> bytes:
        if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] != "latin1":
            raise UnsafePickle("an encoding that is not latin1")
        return arguments[0].encode("latin1")


NDARRAY = Placeholder()
PLACEHOLDERS = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): TypePlaceholder(),
    ("numpy.core.multiarray", "_reconstruct"): ArrayPlaceholder(),  # numpy 1
    ("numpy._core.multiarray", "_reconstruct"): ArrayPlaceholder(),  # numpy 2
    ("_codecs", "encode"): BytesPlaceholder(),
}


class SafeUnpickler(pickle.Unpickler):
    """Unpickler that resolves the allowed names to placeholders."""

    def find_class(self, module: str, name: str) -> Placeholder:
        """Return the placeholder of an allowed name."""
        try:
            return PLACEHOLDERS[module, name]
        except KeyError:
            raise UnsafePickle(f"the name {shorten(f'{module}.{name}')}") from None

    def persistent_load(self, name: object) -> None:
        """Reject references to objects outside the file."""
        raise UnsafePickle("a reference to an object outside the file")


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
        if instruction.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > MAX_INSTRUCTIONS:
            raise UnsafePickle("a memo index that is too large")
        if number > MAX_INSTRUCTIONS:
            raise UnsafePickle(f"more than {MAX_INSTRUCTIONS:,} instructions")
        end = position + 1
    if end != len(payload):
        raise UnsafePickle("data after its end")


def decode_cutouts(outer: object) -> dict[str, np.ndarray]:
    """Return the arrays of the dict inside the outermost array."""
    if not isinstance(outer, RecordedArray):
        raise UnsafePickle("no outer numpy array")
    version, shape, dtype, _, content = outer.state
    object_array = (
        version == 1 and shape == () and isinstance(dtype, RecordedType) and dtype.arguments[0] == "O8"
    )
    if not (object_array and isinstance(content, list) and len(content) == 1 and type(content[0]) is dict):
        raise UnsafePickle("something other than one dict")
    return {check_name(key): decode_array(key, value) for key, value in content[0].items()}


def check_name(key: object) -> str:
    """Return a key that is a short name of letters and digits."""
    if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", key):
        raise UnsafePickle(
            f"the cutout name {shorten(repr(key))}"
            if isinstance(key, str)
            else "a cutout name that is not text"
        )
    return key


def decode_array(key: str, value: object) -> np.ndarray:
    """Decode the numbers of a recorded array."""
    if not isinstance(value, RecordedArray):
        raise UnsafePickle(f"a value of {key!r} that is not an array")
    version, shape, dtype, fortran, content = value.state
    if version != 1 or not isinstance(dtype, RecordedType) or not isinstance(content, bytes):
        raise UnsafePickle(f"an array {key!r} without plain numbers")
    code = dtype.code
    if not NUMBER.fullmatch(code[1:]):
        raise UnsafePickle(f"an array {key!r} of type {shorten(code)}")
    valid_shape = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    number = np.dtype(code)
    if not valid_shape or math.prod(shape) * number.itemsize != len(content):
        raise UnsafePickle(f"an array {key!r} whose shape does not match its size")
    flat = np.frombuffer(content, number).astype(np.float64)
    return flat.reshape(shape, order="F" if fortran is True else "C")


def shorten(text: str) -> str:
    """Return text as one short line of printable characters."""
    plain = text.encode("ascii", "backslashreplace").decode()
    plain = "".join(char if char.isprintable() else "?" for char in plain)
    return plain if len(plain) <= 80 else f"{plain[:77]}..."
