"""Header cards as bytes: the layout of a FITS file, and repairs of cards that astropy cannot parse."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import BinaryIO

BLOCK, CARD = 2880, 80  # bytes
COMMENTARY = (b"", b"COMMENT", b"HISTORY", b"CONTINUE", b"HIERARCH", b"END")
FREE_TEXT = re.compile(rb"[^\x20-\x7e]")
NUMBER = rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d+)?"
VALUE = re.compile(rb" *(?:'(?:[^']|'')*'|[TF]|" + NUMBER + rb"|\(.*\))? *(?:/.*)?")
# A keyword whose "=" is missing or in the wrong column, before a number, a text or a logical value.
MISPLACED = re.compile(rb"([A-Za-z0-9_-]{1,8}) *=? *('(?:[^']|'')*'|[TF]|" + NUMBER + rb") *(/.*)?")
MAX_LISTED = 3  # problems of cards listed in one warning


@dataclass
class Layout:
    """Layout of a FITS file, and the repairs that astropy needs.

    Attributes
    ----------
    end : int
        Bytes up to the end of the last extension, padding included.
    size : int
        Bytes of the file.
    repairs : dict of int to bytes
        Position and repaired content of headers.
    problems : list of str
        Problems to report to the user.
    """

    size: int
    end: int = 0
    repairs: dict[int, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Return whether astropy can read the file as it is."""
        return not self.repairs and self.end == self.size

    @property
    def warning(self) -> str:
        """Return the problems as one line; empty for none."""
        more = len(self.problems) - MAX_LISTED
        return "; ".join(self.problems[:MAX_LISTED]) + (f"; and {more} more problems" if more > 0 else "")

    def repaired(self, file: BinaryIO) -> bytes:
        """Return the content of the file with repaired headers, padded to whole blocks."""
        file.seek(0)
        content = bytearray(file.read(self.end))
        for start, header in self.repairs.items():
            content[start : start + len(header)] = header
        return bytes(content.ljust(self.end, b"\0"))


def read_layout(file: BinaryIO, size: int, last: bytes | None = None) -> Layout:
    """Read the headers of a FITS file.

    Parameters
    ----------
    file : binary file
    size : int
        Its bytes.
    last : bytes, optional
        EXTNAME of the last extension to read and check.

    Raises
    ------
    ValueError
        If the content is not FITS, or truncated: a header or the data of an extension are incomplete.
    """
    layout = Layout(size)
    number = 0
    while layout.end < size:
        start = layout.end
        header = read_header(file, start)
        if header is None:
            check_trailing_bytes(layout, file, number)
            break
        repaired, problems = repair_header(header)
        if repaired != header or start + len(header) > size:
            layout.repairs[start] = repaired
        layout.problems += [f"extension {number}, {problem}" for problem in problems]
        values = parse_structure(repaired)
        data_end = start + len(header) + data_size(values)
        if data_end > max(size, start + len(header)):
            raise ValueError(f"truncated: {size} bytes, extension {number} ends at byte {data_end}")
        layout.end = data_end + -data_end % BLOCK
        if layout.end > size:
            layout.problems.append("the last block is not padded to 2880 bytes; its data are complete")
        if last and values.get(b"EXTNAME", b"").strip(b"' ") == last:
            layout.size = layout.end
            break
        number += 1
    return layout


def check_trailing_bytes(layout: Layout, file: BinaryIO, number: int) -> None:
    """Record bytes after the last extension; raise if another extension starts."""
    file.seek(layout.end)
    tail = file.read()
    if number == 0 or tail.upper().startswith(b"XTENSION"[: len(tail)]):
        reason = f"the header of extension {number} has no END card"
        raise ValueError(reason if FREE_TEXT.search(tail) else f"truncated: {reason}")
    if tail.strip(b"\0 "):
        layout.problems.append(f"{layout.size - layout.end} bytes after the last extension are ignored")


def read_header(file: BinaryIO, start: int) -> bytes | None:
    """Return the header (whole blocks) at a byte position, or None."""
    file.seek(start)
    header = b""
    while block := file.read(BLOCK):
        if not header and not block[:8].upper().startswith((b"SIMPLE", b"XTENSION")):
            return None
        header += block.ljust(BLOCK)
        if any(card.rstrip(b"\0 ") == b"END" for card in split_cards(block)):
            return header
    return None


def split_cards(header: bytes) -> Iterator[bytes]:
    """Yield the cards of a header."""
    return (header[i : i + CARD] for i in range(0, len(header), CARD))


def repair_header(header: bytes) -> tuple[bytes, list[str]]:
    """Return a header that astropy can parse, and the list of its problems."""
    repaired, problems = [], []
    ended = False
    for number, card in enumerate(split_cards(header), start=1):
        if ended:
            if card.strip(b" "):
                problems.append("the header is not padded with blanks")
                repaired.append(b" " * CARD * (len(header) // CARD - number + 1))
                break
            repaired.append(card)
            continue
        ended = card.rstrip(b"\0 ") == b"END"
        fixed, problem = repair_card(card)
        repaired.append(fixed)
        if problem:
            name = FREE_TEXT.sub(b"?", card[:8].replace(b"\0", b" ")).strip().decode() or "blank"
            problems.append(f"card {number} ({name}): {problem}")
    return b"".join(repaired), problems


def repair_card(card: bytes) -> tuple[bytes, str]:
    """Return one card in a valid form, and its problem (may be empty)."""
    problem = ""
    if FREE_TEXT.search(card):
        problem = "null bytes" if not FREE_TEXT.search(card.replace(b"\0", b" ")) else "bytes beyond ASCII"
        card = FREE_TEXT.sub(b"?", card.replace(b"\0", b" "))
    keyword, is_value = card[:8].rstrip(), card[8:10] == b"= "
    if keyword in COMMENTARY:
        return card, problem
    card = card[:8].upper() + card[8:]
    if is_value and VALUE.fullmatch(card, 10):
        return card, problem
    if is_value:
        quoted = re.match(rb" *'([^']*)'", card[10:])
        text = quoted[1] if quoted else card[10:].partition(b"/")[0].strip(b"' ").replace(b"'", b"''")
        return (card[:10] + b"'" + text[: CARD - 12] + b"'").ljust(CARD), "a value that is malformed"
    if found := MISPLACED.fullmatch(card.rstrip()):
        key, value, comment = found.groups(b"")
        return (key.upper().ljust(8) + b"= " + value + b" " + comment)[:CARD].ljust(CARD), 'no "= "'
    return (b"COMMENT " + card)[:CARD], problem or 'no "= "'


def parse_structure(header: bytes) -> dict[bytes, bytes]:
    """Return the header values that define the data size, and EXTNAME."""
    wanted = (b"BITPIX", b"NAXIS", b"PCOUNT", b"GCOUNT", b"EXTNAME")
    found = {}
    for card in split_cards(header):
        if card.startswith(wanted) and card[8:10] == b"= ":
            found[card[:8].rstrip()] = card[10:].partition(b"/")[0].strip()
    return found


def data_size(values: dict[bytes, bytes]) -> int:
    """Return the bytes of data that a header requires, without padding."""

    def number(key: str, default: int) -> int:
        return int(values.get(key.encode(), default))

    axes = number("NAXIS", 0)
    if axes == 0:
        return 0
    pixels = prod(number(f"NAXIS{axis}", 0) for axis in range(1, axes + 1))
    return abs(number("BITPIX", 8)) // 8 * number("GCOUNT", 1) * (number("PCOUNT", 0) + pixels)
