"""Write the report to the folder of the results."""

from pathlib import Path

from acgraph.ir import make_folder, write_bytes
from acgraph.report.page import render_page
from acgraph.report.schema import Report


def write_report(report: Report, folder: Path) -> None:
    """Write ``report.json`` and ``report.html``, each atomically.

    Raises:
        OutputError: The folder cannot be created or written to.
    """
    make_folder(folder)
    write_bytes(report.to_json().encode(), folder / "report.json")
    write_bytes(render_page(report).encode(), folder / "report.html")
