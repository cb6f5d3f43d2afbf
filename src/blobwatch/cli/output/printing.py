"""Printing of results on stdout: JSON for programs, tables for people."""

import json
from collections.abc import Iterable

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value), flush=True)


def print_table(
    columns: Iterable[str | Column], rows: Iterable[Iterable[str]], border: bool = False, **options
) -> None:
    """Print a table; text that is too wide continues on the next line.

    Parameters
    ----------
    columns : iterable of str or Column
    rows : iterable of iterable of str
        Cells with rich markup.
    border : bool
        Draw lines around the cells.
    **options
        Arguments of `rich.table.Table`.
    """
    Console().print(build_table(columns, rows, border, **options))


def build_table(
    columns: Iterable[str | Column], rows: Iterable[Iterable[str]], border: bool = False, **options
) -> Table:
    """Return a table without shortened text; the arguments are those of `print_table`."""
    table = Table(*columns, **({} if border else {"box": None, "pad_edge": False}) | options)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*row)
    return table


def is_wider_than_terminal(table: Table) -> bool:
    """Return whether some text of a table needs more lines than it has."""
    console = Console()
    unlimited = console.options.update(width=10_000)
    return Measurement.get(console, unlimited, table).maximum > console.width
