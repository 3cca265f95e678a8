"""Screenshots of the page to fuse with: ``python docs/tools/app_pictures.py`` writes ``docs/images/app_*.png``.

It runs ``fusionkit app``, fuses scenes of the built-in sample in Chromium, and keeps every picture below 150 kB.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "images"
LARGEST = 150_000  # bytes
NAMES = ("chromium", "google-chrome", "chromium-browser", "chrome")


def main() -> None:
    """Take the screenshots."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        sys.exit("put chromium or google-chrome on PATH to take the screenshots")
    command = [sys.executable, "-m", "fusionkit", "app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        try:
            with sync_playwright() as driver:
                shown = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
                _result(_page(shown, address, width=1360, height=800))
                _phone(_page(shown, address, width=390, height=760))
                shown.close()
        finally:
            server.terminate()


def _page(browser: Any, address: str, *, width: int, height: int) -> Page:
    page: Page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(address)
    page.locator("#gallery .tile").nth(7).wait_for()
    page.wait_for_load_state("networkidle")
    return page


def _result(page: Page) -> None:
    """Two methods on one scene, beside their scores."""
    page.locator("#gallery .tile").nth(3).click()
    page.locator("#result-title").wait_for()
    page.locator("[name=method]").select_option("laplacian")
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.locator(".film .method").nth(1).wait_for()
    page.locator("[name=a]").select_option(label="functional")
    page.locator("[name=b]").select_option(label="refusion:mif")
    page.evaluate("scrollTo(0, 0)")
    _keep(page, "app_result")


def _phone(page: Page) -> None:
    """A result on a small screen."""
    page.locator("#gallery .tile").nth(4).click()
    page.locator("#result-title").wait_for()
    page.locator("#result").evaluate("node => node.scrollIntoView()")
    _keep(page, "app_phone")


def _keep(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in (256, 128, 64, 32):
        packed = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() < LARGEST:
            break
    (IMAGES / f"{name}.png").write_bytes(packed.getvalue())
    print(f"docs/images/{name}.png: {packed.tell()} bytes")


if __name__ == "__main__":
    main()
