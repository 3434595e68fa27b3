"""Write the report where the results are."""

from pathlib import Path

from acgraph.diagnostics import Location
from acgraph.errors import OutputError
from acgraph.ir import write_bytes
from acgraph.report.page import render_page
from acgraph.report.schema import Report


def write_report(report: Report, folder: Path) -> None:
    """Write ``report.json`` and ``report.html``, each whole or not at all.

    Raises:
        OutputError: The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be made: {error.strerror}",
            location=Location(model=str(folder)),
            hint="choose another place with -o",
        ) from error
    write_bytes(report.to_json().encode(), folder / "report.json")
    write_bytes(render_page(report).encode(), folder / "report.html")
