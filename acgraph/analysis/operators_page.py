"""Write docs/operators.md from the table of rules.

::

    python -m acgraph.analysis.operators_page > docs/operators.md
"""

import inspect
import sys
from collections.abc import Iterator

from acgraph.analysis.rules import RULES, OpRule
from acgraph.ir.microsoft import expand

_HEAD = """\
# Operators

Made by `python -m acgraph.analysis.operators_page > docs/operators.md`; a test keeps it current.

How a cut passes each operator of ONNX's default domain. *Exact*: the shrunk model computes what
the dense model with zeroed filters and columns computes; where a note says *inexact*, only
`--allow-inexact` (and `compress`, which trains afterwards) cuts there. *Fenced*: no cut passes;
what the operator reads keeps its size, the rest of the model is pruned, and the report names
node and reason. **Every operator that is not listed, and every operator of another domain, is
fenced**, and so are the bodies of If, Loop and Scan, which pass through byte for byte. Only what
a fenced operator reads keeps its size: the shapes of its results are those that the file declares,
or what the constants of their readers say, and what lies behind is pruned.

Operators whose inputs are all constants need no rule: where a cut cannot be followed through them
(a weight that is standardised in the graph, say), their result is computed and stored, cut.
"""


def page() -> str:
    """Return the page as Markdown."""
    lines = [_HEAD, f"{len(RULES)} operators:", "", "| operator | a cut | how |", "|---|---|---|"]
    for op, rule in sorted(RULES.items()):
        lines.append(f"| {op} | {_state(rule)} | {' '.join(_words(rule))} |")
    lines += ["", *_microsoft()]
    return "\n".join(lines) + "\n"


def _microsoft() -> Iterator[str]:
    yield "## Operators of ONNX Runtime"
    yield ""
    yield "ONNX Runtime's optimiser saves fused operators of the domain `com.microsoft`. When a"
    yield "file is read, these are replaced by the standard operators that they stand for, which"
    yield "ONNX Runtime fuses again when it loads the result. Before anything is cut, the model is"
    yield "compared with the file. Other operators of that domain are fenced, those of its internal"
    yield "layouts (`com.microsoft.nchwc`, written by `ORT_ENABLE_ALL`) included."
    yield ""
    yield "| operator | read as |"
    yield "|---|---|"
    for op, rule in sorted(expand.RULES.items()):
        text = (inspect.getdoc(rule) or "").split("\n\n")[0].replace("\n", " ")
        yield f"| {op} | {text.replace('``', '`')} |"


def _state(rule: OpRule) -> str:
    if rule.status == "fenced":
        return "fenced"
    return "exact, sizes rewritten" if rule.resize is not None else "exact"


def _words(rule: OpRule) -> Iterator[str]:
    summary = (inspect.getdoc(rule.couple) or "").split("\n\n")[0].replace("\n", " ")
    if summary and rule.status != "fenced":
        yield summary.replace("``", "`").replace("|", "\\|")
    if rule.note:
        yield rule.note[0].upper() + rule.note[1:] + "."


def main() -> None:
    """Print the page."""
    sys.stdout.write(page())


if __name__ == "__main__":
    main()
