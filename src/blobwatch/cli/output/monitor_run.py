"""Output of a monitor run: lines of JSON on stdout, messages on stderr."""

from blobwatch.cli.output.printing import print_json
from blobwatch.instrument.file_search import FileProblem
from blobwatch.monitor.ledger.blobs import IngestResult
from blobwatch.monitor.ledger.tables import JUDGED
from blobwatch.monitor.reanalysis import Summary, changed_blobs, describe_changes
from blobwatch.monitor.watch import Report
from blobwatch.progress import print_message


def print_report(one: Report, as_json: bool, style: str = "yellow") -> None:
    """Print what came of a file, or a message."""
    if isinstance(one, IngestResult):
        print_result(one, as_json)
    elif isinstance(one, FileProblem):
        if as_json:
            print_json({"image": str(one.path), "error": str(one)})
        print_message(f"blobwatch: {one}", "red")
    else:
        if as_json:
            print_json({"warning": one.text})
        print_message(f"blobwatch: {one.text}", style)


def print_result(result: IngestResult, as_json: bool) -> None:
    """Print what an exposure changed."""
    exposure = result.exposure
    if as_json:
        line = {"rootname": exposure.rootname, "expstart": exposure.expstart, "outcome": exposure.outcome}
        line |= {"reason": exposure.reason, "blobs": [one.id for one in result.found]}
        line |= {"new": [one.id for one in result.new], "confirmed": [one.id for one in result.confirmed]}
        line |= {"again": result.why, "withdrawn": list(result.withdrawn)}
        print_json(line)
    if result.why:
        print_message(f"{exposure.rootname}: analyzed again ({result.why})")
    for blob in result.new:
        print_message(
            f"{exposure.rootname}: candidate {blob.id} at ({blob.x:.1f}, {blob.y:.1f}), SNR {blob.snr:.1f}"
        )
    for blob in result.confirmed:
        print_message(
            f"{exposure.rootname}: blob {blob.id} at ({blob.x:.1f}, {blob.y:.1f}) is confirmed", "bold green"
        )
    for number in result.withdrawn:
        print_message(
            f"{exposure.rootname}: blob {number} is withdrawn, no exposure shows it any more", "yellow"
        )
    if exposure.outcome != JUDGED:
        print_message(f"{exposure.rootname}: {exposure.outcome}: {exposure.reason}", "yellow")
    if result.unreadable:
        names = ", ".join(result.unreadable[:5]) + (" ..." if len(result.unreadable) > 5 else "")
        print_message(
            f"{exposure.rootname}: light curves lack {len(result.unreadable)} missing files ({names})",
            "yellow",
        )


def print_changes(before: Summary, after: Summary, count: int, as_json: bool) -> None:
    """Print how the results differ from those before they were judged again."""
    numbers = changed_blobs(before, after)
    if as_json:
        line = {"rejudged": count, "before": before.as_json(numbers), "after": after.as_json(numbers)}
        print_json(line)
    lines = describe_changes(before, after)
    print_message(
        f"{count} exposures judged again: {'these results differ' if lines else 'no result differs'}"
    )
    for line in lines:
        print_message(line)
