"""Self-contained HTML pages: templates with styles, scripts and data, without any request."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources

import jinja2
from markupsafe import Markup

from acgraph.diagnostics import counted
from acgraph.pruning.rate import format_rate
from acgraph.report.verdict import format_error, format_percent

#: Scripts and styles of the drawn graph, whose data is named ``graph``.
GRAPH_SCRIPTS = ("vendor/dagre.min.js", "graph.js")
GRAPH_STYLES = ("graph.css",)


def render_template(
    name: str,
    *,
    scripts: Sequence[str] = (),
    styles: Sequence[str] = (),
    data: Mapping[str, object] | None = None,
    **values: object,
) -> str:
    """Render one of the templates in this folder; all values are escaped.

    A Content-Security-Policy forbids all requests, and all scripts but those of the page.

    Args:
        name: The file name of the template.
        scripts: Files in ``assets`` that run after ``page.js``, in this order.
        styles: Files in ``assets`` besides ``page.css``.
        data: JSON values for the scripts, each in an element with the id ``data-NAME``.
        values: The variables of the template.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(_source)
    )
    environment.filters.update(
        rate=format_rate,
        percent=format_percent,
        duration=format_duration,
        error=format_error,
        counted=counted,
    )
    texts = [_source(f"assets/{file}") for file in ("page.js", *scripts)]
    return (
        environment.get_template(name).render(
            policy=_policy(texts),
            scripts=[Markup(text) for text in texts],
            styles=[Markup(_source(f"assets/{file}")) for file in ("page.css", *styles)],
            data=[(key, _json(value)) for key, value in (data or {}).items()],
            **values,
        )
        + "\n"
    )


def _source(name: str) -> str:
    return resources.files("acgraph.report").joinpath(name).read_text("utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """Return the Content-Security-Policy of a page with these inline scripts."""
    hashes = (hashlib.sha256(text.encode()).digest() for text in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


def _json(value: object) -> Markup:
    """Return JSON that cannot end the element that contains it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def format_duration(seconds: float) -> str:
    """Format a duration in seconds.

    >>> format_duration(95), format_duration(4000), format_duration(0.42)
    ('1 min 35 s', '1 h 6 min', '0.4 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
