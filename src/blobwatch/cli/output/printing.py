"""Printing of results on stdout: JSON for programs, tables for people."""

import json
from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value), flush=True)


def print_table(
    columns: Iterable[str | Column], rows: Iterable[Iterable[str]], border: bool = False, **options
) -> None:
    """Print a table.

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
    table = Table(*columns, **({} if border else {"box": None, "pad_edge": False}) | options)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
