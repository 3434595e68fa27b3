"""Put what a benchmark measured where the docs quote it."""

import re
import sys
from pathlib import Path


def rewrite(page: Path, name: str, text: str) -> None:
    """Put text between the two markers ``results:NAME`` of a page."""
    pattern = re.compile(rf"(<!-- results:{name} -->\n).*?(<!-- /results:{name} -->)", re.DOTALL)
    old = page.read_text(encoding="utf-8")
    if not pattern.search(old):
        sys.exit(f"{page}: has no place for results:{name}")
    page.write_text(pattern.sub(lambda m: f"{m[1]}{text}\n{m[2]}", old), encoding="utf-8")
