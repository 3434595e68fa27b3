"""The pass manager: protocol of a pass, pipeline syntax, checks and instruments."""

from acgraph.passmanager.base import Pass, PassContext, PassResult
from acgraph.passmanager.instruments import Instrument, PrintIr, Reproducer
from acgraph.passmanager.manager import PassManager, PassRun
from acgraph.passmanager.pipeline import build_passes, parse_pipeline, pass_text, pipeline_text
from acgraph.passmanager.registry import Registry, load_pass, summary

__all__ = [
    "Instrument",
    "Pass",
    "PassContext",
    "PassManager",
    "PassResult",
    "PassRun",
    "PrintIr",
    "Registry",
    "Reproducer",
    "build_passes",
    "load_pass",
    "parse_pipeline",
    "pass_text",
    "pipeline_text",
    "summary",
]
