"""Write the report to the folder of the results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acgraph.ir import make_folder, write_bytes
from acgraph.report.page import render_page
from acgraph.report.schema import Report


def write_report(report: Report, folder: Path, graph: Mapping[str, Any] | None = None) -> None:
    """Write ``report.json`` and ``report.html``, each atomically.

    Args:
        report: The report.
        folder: The folder, which is created if necessary.
        graph: The graphs of both models for the page, from ``graph_data``.

    Raises:
        OutputError: The folder cannot be created or written to.
    """
    make_folder(folder)
    write_bytes(report.to_json().encode(), folder / "report.json")
    write_bytes(render_page(report, graph).encode(), folder / "report.html")
