"""Generate docs/operators.md from the table of operators.

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

`python -m acgraph.analysis.operators_page > docs/operators.md` writes this page, and a test keeps
it current.

The page lists the operators of ONNX's default domain that acgraph knows. It is generated from the
table in `acgraph/operators/`, from which all parts of acgraph take what they know about operators.

**Prune.** The column says whether a cut can cross the operator.

- *Exact*: the shrunk model computes what the dense model computes with the same filters and columns
  set to zero. Where a note says *inexact*, only `compress`, which trains afterwards, and
  `--allow-inexact` cut there.
- *Sizes rewritten*: the cut also changes sizes or counts that the operator states.
- *Fenced*: no cut crosses the operator. The tensors that it reads keep their size, and the rest of
  the model is pruned. The report names the node and the reason.
- *No channels*: the output consists of sizes or other numbers that are not channels.

**Every operator that is not listed, and every operator of another domain, is fenced.** Loop and
Scan are fenced as well, and their bodies are written back unchanged. The branches of an If are
pruned separately, as far as they do not depend on tensors outside. The output shapes of a fenced
operator are taken from the file, or from the constants of the operators that read them. The layers
behind it can therefore be pruned.

**Train.** *Yes*: `compress` can train a network that has the operator, but for a few rare forms,
which it names before training. *No*: `compress` refuses the network before training. `prune` can
still cut it without training.

**Batch.** *Any*: if the export fixed the batch size, training can use another one, provided that
every operator that the batch passes through says *any*. *As exported*: training runs batches of the
exported size, several for each step.

Operators whose inputs are all constants need no rule. Where a cut cannot be followed through them,
for instance through a weight that is standardised in the graph, acgraph computes their result, and
stores and cuts it.

**How a cut propagates.** A label stands for a position of an axis that can be cut. Coupled and
unified axes are cut at the same positions. The masked model is the dense model with zeros instead
of a cut.
"""


def page() -> str:
    """Return the page as Markdown."""
    rows = list(OPERATORS.values())
    lines = [
        _HEAD,
        f"{len(rows)} operators:",
        "",
        "| operator | prune | train | batch | how a cut propagates |",
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
    yield "The optimiser of ONNX Runtime writes fused operators of the domain `com.microsoft`. When"
    yield "acgraph reads a file, it replaces those in the table by equivalent standard operators,"
    yield "which ONNX Runtime fuses again when it loads the result. Before it cuts anything,"
    yield "acgraph checks that the model computes what the file computes. Other operators of this"
    yield "domain are fenced. So are those of internal layouts (`com.microsoft.nchwc`, written by"
    yield "`ORT_ENABLE_ALL`)."
    yield ""
    yield "| operator | replaced by |"
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
        _summary(RULES[operator.rule])
        if operator.rule
        else "Its output is made of sizes or numbers."
    )
    return " ".join(filter(None, (summary, _sentence(operator.note))))


def _summary(function: Callable[..., object]) -> str:
    """Return the first paragraph of a docstring as a table cell."""
    text = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    return text.replace("``", "`").replace("|", "\\|")


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}." if note else ""


def main() -> None:
    """Print the page."""
    sys.stdout.write(page())


if __name__ == "__main__":
    main()
