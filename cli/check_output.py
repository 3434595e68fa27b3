"""The result of ``acgraph check`` in the formats of pipelines."""

import json
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from acgraph.diagnostics import printable

if TYPE_CHECKING:
    from acgraph.api.budget import BudgetResult


def text_from_check(result: "BudgetResult") -> str:
    """Return a line for the verdict and one for every limit."""
    word = "keeps" if result.is_met else "BREAKS"
    lines = [f"{result.model} {word} the budget {result.budget}", *map(str, result.findings)]
    return "\n".join(map(printable, lines)) + "\n"


def json_from_check(result: "BudgetResult") -> str:
    """Return one JSON object."""
    limits = [
        {"name": each.name, "limit": each.limit, "value": each.value, "met": each.is_met}
        for each in result.findings
    ]
    values: dict[str, Any] = {
        "schema": 1, "model": result.model, "budget": result.budget, "met": result.is_met,
        "limits": limits,
    }  # fmt: skip
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def junit_from_check(result: "BudgetResult") -> str:
    """Return a JUnit test suite with a test case for every limit."""
    broken = sum(not each.is_met for each in result.findings)
    cases = []
    for each in result.findings:
        place = quoteattr(printable(result.model))
        head = f"  <testcase classname={place} name={quoteattr(each.name)}"
        text = printable(str(each))
        cases.append(
            f"{head}/>"
            if each.is_met
            else f"{head}><failure message={quoteattr(text)}>{escape(text)}</failure></testcase>"
        )
    head = f'<testsuite name="acgraph check" tests="{len(cases)}" failures="{broken}">'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>"]
    return "\n".join(lines) + "\n"


def sarif_from_check(result: "BudgetResult") -> str:
    """Return a SARIF 2.1.0 log with a result for every broken limit, at its line of the budget."""
    results = [
        {
            "ruleId": each.name,
            "level": "error",
            "message": {"text": f"{result.model}: {each}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": result.budget},
                        "region": {"startLine": max(each.line, 1)},
                    }
                }
            ],
        }
        for each in result.findings
        if not each.is_met
    ]
    rules = [{"id": each.name} for each in result.findings]
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": {"name": "acgraph", "rules": rules}}, "results": results}],
    }
    return json.dumps(log, indent=2) + "\n"


def github_from_check(result: "BudgetResult") -> str:
    """Return workflow commands of GitHub: an error for every broken limit, else a notice."""
    lines = [
        f"::error file={_property(result.budget)},line={max(each.line, 1)},"
        f"title=acgraph check::{_data(f'{result.model}: {each}')}"
        for each in result.findings
        if not each.is_met
    ]
    return (
        "\n".join(lines or [f"::notice::{_data(text_from_check(result).splitlines()[0])}"]) + "\n"
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
