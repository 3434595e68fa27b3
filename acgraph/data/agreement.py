"""The former module of ``Agreement``, for code that still imports it from here."""

from acgraph.tasks import Agreement

__all__ = ["Agreement"]
