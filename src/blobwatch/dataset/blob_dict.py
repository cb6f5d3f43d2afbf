"""The public predecessor's ``blob_dict.npy``: a pickle, read without running anything of it.

A pickle is a program: it names functions and calls them. This one may be written by anyone, so it is read in
two steps. First its instructions are listed, which runs none of them, and any that a dict of arrays does not
need is refused. Then they are followed, but each name that numpy's arrays are pickled with leads to a
stand-in of this module that only keeps what it is given, and any other name is refused. Numbers are made of
the bytes that were kept, at the end, here.
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

LARGEST_FILE = 4_000_000  # bytes; the 27 cutouts take 0.1 MB
MOST_STEPS = 10_000  # instructions; 27 cutouts take about 1,000
# What pickles of protocols 0 to 4 spell a dict of arrays with. PROTO to STOP frame it; the rest puts plain
# values on the stack, keeps and takes them (MEMOIZE, PUT, GET), and makes tuples, a list, dicts, arrays.
INSTRUCTIONS = re.compile(
    "PROTO|FRAME|STOP|MARK|MEMOIZE|((LONG_)?BIN)?(PUT|GET)|NONE|NEWTRUE|NEWFALSE|INT|LONG1?|BININT[12]?"
    "|((SHORT_)?BIN)?UNICODE|(SHORT_)?BINBYTES8?|(EMPTY_)?TUPLE|TUPLE[123]|(EMPTY_)?LIST|APPENDS?"
    "|(EMPTY_)?DICT|SETITEMS?|(STACK_)?GLOBAL|REDUCE|BUILD"
)
NUMBER = re.compile(r"[fiu][1248]|b1")
KEEP = "save it anew with np.save from a dict of plain arrays"


class UnsafePickle(Exception):
    """The file wants what no dict of arrays needs."""


class Placeholder:
    """What a name in the file leads to: it can be called and given a state, and refuses both."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> object:
        raise UnsafePickle("calls what only names a type")

    def __setstate__(self, state: object) -> None:
        raise UnsafePickle("changes what it may only call")


class RecordedCall(Placeholder):
    """What a call gave: it can be given one state, which it keeps."""

    __slots__ = ("given", "state")

    def __init__(self, *given: object) -> None:
        self.given = given
        self.state = None

    def __setstate__(self, state: object) -> None:
        if self.state is not None:
            raise UnsafePickle("gives an array two contents")
        self.state = state


class RecordedType(RecordedCall):
    """A data type: its code, such as f8, and its byte order."""

    __slots__ = ()

    @property
    def code(self) -> str:
        """The type as numpy spells it, if it is a plain one."""
        code, order = self.given[0], self.state[1]
        # What else a state may hold (fields, a subtype, flags, metadata) makes a type that is not plain.
        plain = self.given == (code, False, True) and self.state == (3, order, None, None, None, -1, -1, 0)
        if not (plain and isinstance(code, str) and order in ("<", ">", "|")):
            raise UnsafePickle("describes a data type that is not plain")
        return order + code


class RecordedArray(RecordedCall):
    """An array: its shape, type and bytes."""

    __slots__ = ()


class TypePlaceholder(Placeholder):
    """Stands for numpy.dtype."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> RecordedType:
        return RecordedType(*arguments)


class ArrayPlaceholder(Placeholder):
    """Stands for numpy's function that makes an empty array to be filled."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> RecordedArray:
        if arguments != (NDARRAY, (0,), b"b"):
            raise UnsafePickle("makes an array of a type that is not numpy's own")
        return RecordedArray()


class BytesPlaceholder(Placeholder):
    """Stands for _codecs.encode, with which old protocols spell bytes."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> bytes:
        if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] != "latin1":
            raise UnsafePickle("encodes something else than bytes")
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
    """Follows the instructions of a pickle with stand-ins for the names it may use."""

    def find_class(self, module: str, name: str) -> Placeholder:
        """Return the stand-in of a name, or refuse it."""
        try:
            return PLACEHOLDERS[module, name]
        except KeyError:
            raise UnsafePickle(f"wants {shorten(f'{module}.{name}')}") from None

    def persistent_load(self, name: object) -> None:
        """Refuse what lies outside the file."""
        raise UnsafePickle("wants something that lies outside it")


def read_blob_dict(path: Path) -> dict[str, np.ndarray]:
    """Return the cutouts of a ``blob_dict.npy``; nothing in the file is run.

    Parameters
    ----------
    path : Path
        An ``.npy`` file whose one object is a dict of arrays of numbers by their names.

    Returns
    -------
    dict of str to ndarray, float64
        In the order of the file.

    Raises
    ------
    BlobwatchError
        If the file is not that, is too large, or wants anything else.
    """
    payload = read_pickle_bytes(path)
    try:
        check_instructions(payload)
        # The encoding is for strings that only Python 2 wrote; their instructions are refused above.
        return decode_cutouts(SafeUnpickler(io.BytesIO(payload), fix_imports=False, encoding="ASCII").load())
    except UnsafePickle as wanted:
        raise BlobwatchError(
            f"{path} {wanted}, which no dict of cutouts needs; nothing of it was run; {KEEP}"
        ) from None
    except Exception as error:  # what a damaged pickle raises is of any kind
        raise BlobwatchError(f"{path} is damaged; copy it again, or {KEEP} ({shorten(str(error))})") from None


def import_blobs(path: Path, out: Path) -> None:
    """Make templates of the cutouts of a ``blob_dict.npy``, and say what became of them.

    Raises
    ------
    BlobwatchError
        If the file is refused, or no cutout of it can be used; what was in ``out`` stays then.
    """
    templates, left_out = create_templates(read_blob_dict(path))
    write_templates(out, templates, path)
    if left_out:
        print_message(f"left out, since no blob stands out of their noise: {', '.join(left_out)}", "yellow")
    sizes = [one.half_width for one in templates]
    print_message(
        f"{len(templates)} templates in {out / FILE}, half-widths {min(sizes):.1f} to {max(sizes):.1f} px; "
        "commit it, then `dvc repro`",
        "",
    )


def read_pickle_bytes(path: Path) -> bytes:
    """Return the pickle inside an ``.npy`` file that holds one object."""
    if not path.is_file():
        raise BlobwatchError(f"{path} is no file; give the predecessor's blob_dict.npy")
    if path.stat().st_size > LARGEST_FILE:
        raise BlobwatchError(
            f"{path} is larger than {LARGEST_FILE // 10**6} MB; give a dict of cutouts alone"
        )
    with path.open("rb") as stream:
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("only long headers need a later version")
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        except Exception:  # the header is text from the file; what it raises is of any kind
            raise BlobwatchError(f"{path} is no .npy file as np.save writes a dict; {KEEP}") from None
        if shape != () or dtype != np.dtype(object):
            raise BlobwatchError(f"{path} holds an array, where a dict of cutouts is expected; {KEEP}")
        return stream.read()


def check_instructions(payload: bytes) -> None:
    """List the instructions of a pickle without following them, and refuse those that are not needed."""
    end = 0
    for number, (instruction, argument, position) in enumerate(pickletools.genops(payload)):
        if not INSTRUCTIONS.fullmatch(instruction.name):
            raise UnsafePickle(f"wants the pickle instruction {instruction.name}")
        # A number here is a place in a table that is made as long as the number says.
        if instruction.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > MOST_STEPS:
            raise UnsafePickle("keeps a value under a number too large")
        if number > MOST_STEPS:
            raise UnsafePickle(f"has more than {MOST_STEPS:,} instructions")
        end = position + 1
    if end != len(payload):
        raise UnsafePickle("has something behind its end")


def decode_cutouts(outer: object) -> dict[str, np.ndarray]:
    """Return the arrays of the dict that is the one element of the outermost array."""
    if not isinstance(outer, RecordedArray):
        raise UnsafePickle("holds something else than numpy's array")
    version, shape, dtype, _, content = outer.state
    object_array = version == 1 and shape == () and isinstance(dtype, RecordedType) and dtype.given[0] == "O8"
    if not (object_array and isinstance(content, list) and len(content) == 1 and type(content[0]) is dict):
        raise UnsafePickle("holds something else than one dict")
    return {check_name(key): decode_array(key, value) for key, value in content[0].items()}


def check_name(key: object) -> str:
    """Return a key that is a short name, in letters and digits."""
    if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", key):
        raise UnsafePickle(f"names a cutout {shorten(repr(key)) if isinstance(key, str) else 'by no text'}")
    return key


def decode_array(key: str, value: object) -> np.ndarray:
    """Return the numbers of an array, made of its bytes."""
    if not isinstance(value, RecordedArray):
        raise UnsafePickle(f"holds under {key!r} something else than an array")
    version, shape, dtype, fortran, content = value.state
    if version != 1 or not isinstance(dtype, RecordedType) or not isinstance(content, bytes):
        raise UnsafePickle(f"holds under {key!r} an array that is not of plain numbers")
    code = dtype.code
    if not NUMBER.fullmatch(code[1:]):
        raise UnsafePickle(f"holds under {key!r} an array of type {shorten(code)}")
    sides = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    number = np.dtype(code)
    if not sides or math.prod(shape) * number.itemsize != len(content):
        raise UnsafePickle(f"holds under {key!r} an array whose shape does not fit its bytes")
    flat = np.frombuffer(content, number).astype(np.float64)
    return flat.reshape(shape, order="F" if fortran is True else "C")


def shorten(text: str) -> str:
    """Return text from the file as one short line of printable characters."""
    plain = text.encode("ascii", "backslashreplace").decode()
    plain = "".join(one if one.isprintable() else "?" for one in plain)
    return plain if len(plain) <= 80 else f"{plain[:77]}..."
