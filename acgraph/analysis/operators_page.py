"""Write docs/operators.md from the table of rules.

::

    python -m acgraph.analysis.operators_page > docs/operators.md
"""

import inspect
import sys
from collections.abc import Callable, Iterator

from acgraph.analysis.rules import RULES
from acgraph.ir.microsoft import expand
from acgraph.operators import OPERATORS, Operator
from acgraph.operators.domains import MICROSOFT_FENCED

_HEAD = """\
# Operators

Made by `python -m acgraph.analysis.operators_page > docs/operators.md`; a test keeps it current.

The operators of ONNX's default domain that acgraph knows. Everything in acgraph that asks about an
operator reads the table in `acgraph/operators/`, which this page is made of.

**Prune.** *Exact*: the shrunk model computes what the dense model with zeroed filters and columns
computes; where a note says *inexact*, only `--allow-inexact` (and `compress`, which trains
afterwards) cuts there. *Sizes rewritten*: the cut also changes the sizes that the operator states.
*Fenced*: no cut passes; what the operator reads keeps its size, the rest of the model is pruned,
and the report names node and reason. *No channels*: the operator makes or measures numbers that
are not cut. **Every operator that is not listed, and every operator of another domain, is fenced**,
and so are Loop and Scan, whose bodies pass through byte for byte. The branches of an If are pruned
on their own, as far as they depend on nothing outside them. The shapes of the
results of a fenced operator are those that the file declares, or what the constants of their
readers say; what lies behind it is pruned.

**Train.** *Yes*: `compress` trains networks that have the operator. Where it says *no*, `compress`
refuses the network before any training, and `prune` cuts it without training.

**Batch.** *Any*: where the export fixed the size of the batch, training uses another one if every
operator that the batch passes through allows it. *As exported*: the operator ends that, and
training runs the batch of the export several times.

Operators whose inputs are all constants need no rule: where a cut cannot be followed through them
(a weight that is standardised in the graph, say), their result is computed and stored, cut.
"""


def page() -> str:
    """Return the page as Markdown."""
    rows = list(OPERATORS.values())
    lines = [
        _HEAD,
        f"{len(rows)} operators:",
        "",
        "| operator | prune | train | batch | how a cut passes |",
        "|---|---|---|---|---|",
    ]
    lines += [_row(operator) for operator in rows]
    lines += ["", *_microsoft()]
    return "\n".join(lines) + "\n"


def _row(operator: Operator) -> str:
    cells = (operator.name, _cut(operator), _train(operator), _batch(operator), _words(operator))
    return f"| {' | '.join(cells)} |"


def _cut(operator: Operator) -> str:
    if operator.fence:
        return "fenced"
    if not operator.rule:
        return "no channels"
    return "exact, sizes rewritten" if operator.resize else "exact"


def _train(operator: Operator) -> str:
    if operator.kernel:
        return "yes"
    return "**no**" if operator.is_cut else "no"


def _batch(operator: Operator) -> str:
    return "any" if operator.batch else "as exported"


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
        yield f"| {op} | {_summary(rule)} |"
    yield ""
    for why, ops in MICROSOFT_FENCED.items():
        yield f"Fenced ({why}): {', '.join(ops)}."
        yield ""


def _words(operator: Operator) -> str:
    if operator.fence:
        return _sentence(operator.fence)
    summary = (
        _summary(RULES[operator.rule]) if operator.rule else "It makes numbers, or measures sizes."
    )
    return " ".join(filter(None, (summary, _sentence(operator.note))))


def _summary(function: Callable[..., object]) -> str:
    """Return the first paragraph of a docstring, as the cell of a table."""
    text = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    return text.replace("``", "`").replace("|", "\\|")


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}." if note else ""


def main() -> None:
    """Print the page."""
    sys.stdout.write(page())


if __name__ == "__main__":
    main()
