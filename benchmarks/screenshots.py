"""Write the pictures of docs/pages.md: the pages of acgraph in headless Chromium.

    python benchmarks/screenshots.py DEMO

DEMO is the folder of ``acgraph demo``. The transformer comes from the zoo in
``$ACGRAPH_SHARED/zoo``. Needs chromium, chromedriver and Selenium (``pip install .[test]``).
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver

import acgraph
from acgraph.models.demo import model_path

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
ZOO = Path(os.environ.get("ACGRAPH_SHARED", "../shared")) / "zoo"
#: Largest size of a picture in bytes.
MOST = 200_000
TRANSFORMER, ITS_NODE = "deit_tiny_patch16_224.legacy", "/blocks/blocks.1/attn/proj/MatMul"


def open_browser() -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    return webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )


class Camera:
    """Takes pictures of pages."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def open(self, page: Path, *, dark: bool = False, height: int = 1400) -> None:
        media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 1200, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        self.browser.get(page.resolve().as_uri())

    def run(self, script: str) -> Any:
        return self.browser.execute_script(script)

    def shoot(self, name: str, element: str = "") -> None:
        """Write a picture of the window, or of one element of the page."""
        time.sleep(1.0)
        if element:
            found = self.browser.find_element("css selector", element)
            data = found.screenshot_as_png
        else:
            data = self.browser.get_screenshot_as_png()
        target = IMAGES / f"{name}.webp"
        Image.open(io.BytesIO(data)).convert("RGB").save(target, quality=80, method=6)
        size = target.stat().st_size
        assert size <= MOST, f"{target} has {size} bytes"
        print(f"{target.name}: {size:,} bytes")


def search(text: str) -> str:
    """Return a script that searches a node of the graph and selects it."""
    return (
        "const field = document.querySelector('.graph .tools input');"
        f"field.value = '{text}'; field.dispatchEvent(new Event('input'));"
        "document.querySelector('.graph .found button').click(); field.value = '';"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path)
    demo = parser.parse_args().demo.resolve()
    warnings.simplefilter("ignore")
    IMAGES.mkdir(exist_ok=True)
    camera = Camera(open_browser())
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        text = (demo / "report.html").read_text()
        path = json.loads((demo / "report.json").read_text())["model"]["path"]
        page.write_text(text.replace(path, "demo.onnx"))
        camera.open(page)
        camera.shoot("report")
        camera.run("document.querySelectorAll('.masks button')[5].click()")
        camera.shoot("masks", "dialog")
        shutil.copy(model_path(), Path(folder) / "demo.onnx")
        shutil.copy(demo / "model.onnx", Path(folder) / "compact.onnx")
        with contextlib.chdir(folder):
            page.write_text(acgraph.diff("demo.onnx", "compact.onnx").to_html())
        camera.open(page, dark=True)
        camera.shoot("diff")
        sys.path.insert(0, str(ZOO))
        import zoo

        page.write_text(acgraph.inspect(zoo.load(TRANSFORMER)).to_html())
        camera.open(page)
        camera.run(search(ITS_NODE))
        camera.run(
            "[...document.querySelectorAll('.node button')]"
            ".find(button => button.textContent === 'Show the chain')?.click()"
        )
        for _ in range(2):
            camera.run("document.querySelector('.graph button.out').click()")
        camera.shoot("chain", "#graph")
    camera.browser.quit()


if __name__ == "__main__":
    main()
