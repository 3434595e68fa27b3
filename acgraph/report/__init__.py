"""The report: JSON, tables and a page."""
