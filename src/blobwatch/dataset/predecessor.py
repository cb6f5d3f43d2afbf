"""The predecessor's ``blob_dict.npy``, a pickle, read without letting a pickle do anything.

A pickle is a program. Its every instruction is looked at before any is carried out; the names that it
may ask for are those by which numpy rebuilds a plain array, and even they stand for functions of this module,
which check what they are given. What is wanted beyond that is named and refused, and nothing runs.
"""

import io
import pickle
import pickletools
from pathlib import Path

import numpy as np

from blobwatch.errors import BlobwatchError
from blobwatch.instrument.templates import FILE, make_template, write_templates
from blobwatch.progress import console

LARGEST_FILE = 16 * 2**20  # bytes; 27 cutouts of 21 x 21 pixels take 0.1 MB
LARGEST_SIDE = 1024  # pixels
MOST_NAMES = 100_000  # of what a pickle remembers; a higher one would only fill the memory
# What builds numbers, text, bytes, tuples, lists, dicts, and calls the functions that are admitted.
INSTRUCTIONS = """
PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4
FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS
EMPTY_DICT DICT SETITEM SETITEMS PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE
GLOBAL STACK_GLOBAL REDUCE BUILD
"""


class Refused(Exception):
    """What the pickle holds is not admitted; the message says what."""


class Rebuilt:
    """An array that a pickle describes, before and after it is told what it holds."""

    __slots__ = ("value",)

    def __init__(self):
        self.value: np.ndarray | list | None = None

    def __setstate__(self, state: object) -> None:
        """Take the array's description: version, shape, kind, order, and bytes, or a list of objects."""
        try:
            _, shape, kind, by_column, content = state
            sound = isinstance(kind, Kind) and all(type(n) is int and 0 <= n <= LARGEST_SIDE for n in shape)
        except (TypeError, ValueError):
            sound = False
        if not sound or len(shape) > 3:
            raise Refused("an array whose description makes no sense")
        if kind.code == "O":
            if shape != () or type(content) is not list or len(content) != 1:
                raise Refused("an array of objects")
            self.value = content
            return
        dtype = np.dtype(kind.order + kind.code)
        if type(content) is not bytes or len(content) != dtype.itemsize * int(np.prod(shape)):
            raise Refused("an array whose bytes do not fill its shape")
        self.value = np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")


class Kind:
    """The kind of number that a pickle says an array has."""

    __slots__ = ("code", "order")
    ADMITTED = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1")

    def __init__(self, code: object):
        name = {"O8": "O", "O": "O"}.get(code, code) if isinstance(code, str) else None
        if name != "O" and name not in self.ADMITTED:
            raise Refused(
                f"an array of {code!r}" if isinstance(code, str) else "an array of no plain numbers"
            )
        self.code, self.order = name, "="

    def __setstate__(self, state: object) -> None:
        """Take the order of the bytes; names, shapes and metadata of fields are not admitted."""
        plain = type(state) is tuple and 5 <= len(state) <= 8 and state[1] in ("<", ">", "|", "=")
        if not plain or any(one is not None for one in state[2:5]):
            raise Refused("an array of structures")
        self.order = "=" if state[1] == "|" else state[1]


class Admitted:
    """A name that a pickle may ask for; it can be called, and nothing else."""

    __slots__ = ("make",)

    def __init__(self, make):
        self.make = make

    def __call__(self, *arguments):
        """Do what the name stands for."""
        return self.make(*arguments)

    def __setstate__(self, state: object) -> None:
        """Refuse to be changed."""
        raise Refused("a change of what it may ask for")


def array(*_: object) -> Rebuilt:
    """Stand for numpy's ``_reconstruct``: an array that is still to be described."""
    return Rebuilt()


def kind(code: object = None, *_: object) -> Kind:
    """Stand for ``numpy.dtype``."""
    return Kind(code)


def no_call(*_: object) -> None:
    """Stand for ``numpy.ndarray``, which is only named, never called."""
    raise Refused("a call of numpy.ndarray")


def encoded(text: object = None, coding: object = None, *more: object) -> bytes:
    """Stand for ``_codecs.encode``, by which old pickles write bytes."""
    if type(text) is not str or coding != "latin1" or more:
        raise Refused("a text of an odd coding")
    return text.encode("latin1")


NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): array,
    ("numpy._core.multiarray", "_reconstruct"): array,
    ("numpy", "ndarray"): no_call,
    ("numpy", "dtype"): kind,
    ("_codecs", "encode"): encoded,
}


class Reader(pickle.Unpickler):
    """An unpickler that gives nothing but stand-ins of this module."""

    def find_class(self, module: str, name: str) -> Admitted:
        """Return the stand-in of a name, or refuse it."""
        if (module, name) not in NAMES:
            raise Refused(f"{module}.{name}")
        return Admitted(NAMES[module, name])

    def persistent_load(self, pid: object) -> None:
        """Refuse what lies elsewhere."""
        raise Refused("something that lies elsewhere")


def read_blob_dict(path: Path | str) -> dict[str, np.ndarray]:
    """Return the cutouts of the predecessor's ``blob_dict.npy``, by their keys.

    Parameters
    ----------
    path : Path or str
        As ``numpy.save`` wrote a dict of arrays.

    Returns
    -------
    dict of str to ndarray, shape (ny, nx), float64

    Raises
    ------
    BlobwatchError
        If it is no such file, or wants anything but arrays, dicts and text; nothing of it was run then.
    """
    path = Path(path)
    content = payload(path)
    try:
        refuse_instructions(content)
        found = Reader(io.BytesIO(content)).load()
        inside = found.value if isinstance(found, Rebuilt) else None
        return cutouts(inside[0] if isinstance(inside, list) else found)
    except Refused as wanted:
        raise BlobwatchError(
            f"{path} holds {wanted}, which is no plain array, dict or text; it was refused and nothing of it "
            "was run. Give the blob_dict.npy that the predecessor came with"
        ) from None
    except Exception as error:  # a damaged pickle fails in any way
        raise BlobwatchError(f"{path} is damaged; copy it again ({error})") from None


def import_blobs(path: Path, out: Path) -> None:
    """Make templates of the cutouts of a ``blob_dict.npy``; say what became of each.

    Raises
    ------
    BlobwatchError
        If the file is refused, or one of its cutouts shows no blob; what was in ``out`` stays then.
    """
    templates = [make_template(key, cutout) for key, cutout in read_blob_dict(path).items()]
    write_templates(out, templates, path)
    sizes = [one.half_width for one in templates]
    console.print(
        f"{len(templates)} templates in {out / FILE}, half-widths {min(sizes):.1f} to {max(sizes):.1f} px; "
        "commit it, then `dvc repro`",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def payload(path: Path) -> bytes:
    """Return the pickle inside a ``.npy`` file of one object."""
    if not path.is_file():
        raise BlobwatchError(f"{path} is no file; give the predecessor's blob_dict.npy")
    if path.stat().st_size > LARGEST_FILE:
        raise BlobwatchError(f"{path} has {path.stat().st_size} bytes; a blob_dict.npy has far fewer")
    stream = io.BytesIO(path.read_bytes())
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stream)
    except ValueError:
        raise BlobwatchError(f"{path} is no .npy file; give the predecessor's blob_dict.npy") from None
    if shape != () or dtype != np.dtype(object):
        raise BlobwatchError(f"{path} holds an array, not a dict of cutouts; give the blob_dict.npy itself")
    return stream.read()


def refuse_instructions(content: bytes) -> None:
    """Refuse a pickle by its instructions, before any is carried out."""
    admitted = INSTRUCTIONS.split()
    for instruction, argument, _ in pickletools.genops(content):
        if instruction.name not in admitted:
            raise Refused(f"the instruction {instruction.name}")
        if "PUT" in instruction.name and int(argument) > MOST_NAMES:
            raise Refused("more than it could hold")


def cutouts(found: object) -> dict[str, np.ndarray]:
    """Return the arrays of a dict, or refuse what it is."""
    if type(found) is not dict or not found:
        raise Refused(f"a {type(found).__name__} instead of a dict of cutouts")
    arrays = {}
    for key, one in found.items():
        if type(key) is not str or not isinstance(one, Rebuilt) or not isinstance(one.value, np.ndarray):
            raise Refused(f"under {key!r} something else than an array")
        arrays[key] = one.value.astype(np.float64)
    return arrays
