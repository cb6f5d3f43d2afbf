"""The blobs of a ledger as a table on the terminal."""

from blobwatch.cli.output.printing import print_table
from blobwatch.monitor.ledger.rows import format_depth, format_utc, format_value

STYLES = {"candidate": "yellow", "confirmed": "green", "rejected": "dim"}


def print_blobs(rows: list[dict]) -> None:
    """Print blobs as a table."""
    from rich.box import SIMPLE
    from rich.table import Column

    if not rows:
        print("no blob yet")
        return
    columns = [Column(name, no_wrap=True) for name in ("id", "status", "x", "y", "SNR", "depth, %")]
    columns += [Column("appeared (UTC)", min_width=10), Column("found", no_wrap=True)]
    lines = []
    for row in rows:
        cells = [format_value(row["x"], row["x_error"]), format_value(row["y"], row["y_error"])]
        cells += [f"{row['snr']:.1f}", format_depth(row)]
        before = "" if row["last_without"] is None else format_utc(row["last_without"])[:10]
        cells += [f"{before} - {format_utc(row['first_seen'])[:10]}", f"{row['detections']} x"]
        lines.append((str(row["id"]), f"[{STYLES[row['status']]}]{row['status']}[/]", *cells))
    print_table(columns, lines, border=True, box=SIMPLE, padding=0)
