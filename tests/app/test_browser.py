"""The page in Chromium, served by the command itself: fusing, errors in words, a phone, the keyboard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.app.conftest import Array, encoded
from tests.support.chromium import BROWSER, NEEDS_BROWSER

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")

pytestmark = NEEDS_BROWSER


@dataclass
class Served:
    """The running command and the browser beside it."""

    address: str
    process: subprocess.Popen[str]
    temporary: Path
    browser: Any


@dataclass
class Visit:
    """A page that is open, and what went wrong or elsewhere in it."""

    page: Any
    faults: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    temporary = tmp_path_factory.mktemp("temporary")
    command = [sys.executable, "-m", "fusionkit", "app", "--port", "0", "--device", "cpu"]
    env = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            with playwright.sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
                yield Served(address, process, temporary, browser)
                browser.close()
        finally:
            process.kill()


def opened(served: Served, **options: Any) -> Iterator[Visit]:
    context = served.browser.new_context(**options)
    context.set_default_timeout(30_000)
    visit = Visit(context.new_page())
    visit.page.on("pageerror", lambda error: visit.faults.append(str(error)))
    visit.page.on("console", lambda line: visit.faults.append(line.text) if line.type == "error" else None)

    def elsewhere(request: Any) -> None:
        if not request.url.startswith((served.address, "data:")):
            visit.faults.append(request.url)

    visit.page.on("request", elsewhere)
    visit.page.goto(served.address)
    visit.page.locator("#gallery .tile").nth(7).wait_for()
    yield visit
    context.close()
    # The browser reports refusals of the server as errors, too.
    assert [fault for fault in visit.faults if "status of 4" not in fault] == []


@pytest.fixture
def visit(served: Served) -> Iterator[Visit]:
    yield from opened(served, viewport={"width": 1400, "height": 900}, accept_downloads=True)


@pytest.fixture
def phone(served: Served) -> Iterator[Visit]:
    yield from opened(served, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)


def files_of(folder: Path, scene: tuple[Array, Array], suffix: str = ".png", *, bits: int = 8) -> list[Path]:
    folder.mkdir(exist_ok=True)
    files = [folder / f"ir{suffix}", folder / f"vi{suffix}"]
    for file, one in zip(files, scene, strict=True):
        file.write_bytes(encoded(one, suffix, bits=bits))
    return files


def split(page: Any) -> float:
    return float(page.locator(".stage").evaluate("node => node.style.getPropertyValue('--split')"))


def transform(page: Any) -> str:
    return str(page.locator(".stage .pane-a img").evaluate("node => node.style.transform"))


def pixels_of(page: Any, selector: str) -> list[int]:
    """The widths of images, once each is loaded."""
    return page.locator(selector).evaluate_all(
        "images => Promise.all(images.map(async image => { image.loading = 'eager'; await image.decode(); "
        "return image.naturalWidth; }))"
    )


def test_the_first_click_shows_a_result_with_scores_and_what_was_compared(visit: Visit) -> None:
    page = visit.page
    page.locator("#gallery .tile").first.click()
    page.locator("#result-title").wait_for()
    assert pixels_of(page, ".stage img") == [256, 256]
    assert page.locator(".film figcaption").all_text_contents()[:2] == ["infrared", "visible"]
    names = [text.split()[0] for text in page.locator("#result tbody th").all_text_contents()]
    assert names == ["EN", "SD", "SF", "AG", "SCD", "SSIM", "Time"]
    values = page.locator("#result tbody td").all_text_contents()[:6]
    assert all(float(value) > 0 for value in values)

    page.locator("[name=method]").select_option("gff")
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.locator(".film .method").nth(1).wait_for()
    assert page.locator("#result thead th").count() == 3
    assert page.locator("#result .best").count() == 6
    assert page.locator("optgroup[label='weight maps'] option").count() >= 1
    page.locator("input[value=difference]").check(force=True)
    assert page.locator(".stage.mode-difference").count() == 1


def test_files_of_16_bits_are_fused_by_keyboard_alone_and_downloaded_in_16_bits(
    visit: Visit, scene: tuple[Array, Array], tmp_path: Path
) -> None:
    page = visit.page
    page.locator("#images").set_input_files(files_of(tmp_path, scene, ".tif", bits=16))
    page.locator("#sources li").nth(1).wait_for()
    assert page.locator("#sources b").all_text_contents() == ["ir.tif", "vi.tif"]
    assert "16 bits" in page.locator("#sources .block").first.text_content()
    assert pixels_of(page, "#sources img") == [96, 96]

    page.locator("[name=method]").focus()
    page.keyboard.type("laplacian")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Fuse":
            break
    page.keyboard.press("Enter")
    page.locator("#result-title").wait_for()
    assert "16 bits" in page.locator("#result-title").text_content()
    assert "laplacian" in page.locator("#result-title").text_content()
    assert page.evaluate("document.activeElement.id") == "result-title"

    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('stage')"):
            break
    page.keyboard.press("ArrowRight")
    assert split(page) == pytest.approx(0.52)
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert "scale(2.25)" in transform(page)
    page.keyboard.press("ArrowRight")
    assert "translate(-60px" in transform(page)
    page.keyboard.press("0")
    assert transform(page) == "translate(0px, 0px) scale(1)"

    with page.expect_download() as image:
        page.get_by_role("link", name="Fused image").click()
    fused = cv2.imread(str(image.value.path()), cv2.IMREAD_UNCHANGED)
    assert image.value.suggested_filename == "ir.png"
    assert fused.dtype == np.uint16
    assert fused.shape == (80, 96)
    with page.expect_download() as record:
        page.get_by_role("link", name="Record").click()
    kept = json.loads(Path(record.value.path()).read_text(encoding="utf-8"))
    assert kept["sources"] == ["ir.tif", "vi.tif"]
    assert kept["complete"] is True


def test_errors_are_said_in_words_and_the_next_attempt_succeeds(
    visit: Visit, scene: tuple[Array, Array], tmp_path: Path
) -> None:
    page, alert = visit.page, visit.page.get_by_role("alert")
    notes = tmp_path / "notes.txt"
    notes.write_text("no image", encoding="utf-8")
    page.locator("#images").set_input_files([notes])
    alert.wait_for()
    assert alert.text_content().startswith("notes.txt: is no image that is read here")
    assert page.locator("#sources li").count() == 0

    infrared, visible = files_of(tmp_path / "pair", scene)
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), cv2.resize((scene[0] >> 8).astype(np.uint8), (48, 40)))
    page.locator("#images").set_input_files([small])
    page.locator("#sources li").first.wait_for()
    assert not alert.is_visible()
    fuse = page.get_by_role("button", name="Fuse", exact=True)
    assert fuse.is_disabled()
    page.locator("#images").set_input_files([visible])
    page.locator("#sources li").nth(1).wait_for()
    page.locator("[name=method]").select_option("laplacian")
    fuse.click()
    alert.wait_for()
    assert "sources differ in size (source1/small.png 48x40, source2/vi.png 96x80)" in alert.text_content()

    page.locator("#sources input").first.fill("hot")
    page.locator("[name=align]").select_option("resize")
    fuse.click()
    playwright.expect(alert).to_contain_text("range of source 1 hot:")
    page.locator("#sources input").first.fill("minmax")
    fuse.click()
    page.locator("#result-title").wait_for()
    assert not alert.is_visible()
    assert infrared.is_file()


def test_a_folder_with_a_folder_for_each_source_is_fused_scene_by_scene(
    visit: Visit, scene: tuple[Array, Array], tmp_path: Path
) -> None:
    page = visit.page
    for name, one in zip(("vi", "ir"), reversed(scene), strict=True):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in (1, 2):
            (tmp_path / "data" / name / f"{number}.png").write_bytes(encoded(np.roll(one, 9 * number, 1)))
        (tmp_path / "data" / name / "readme.txt").write_text("not an image", encoding="utf-8")
    page.locator("#folder").set_input_files(tmp_path / "data")
    page.locator("#sources li").nth(1).wait_for()
    assert page.locator("#sources b").all_text_contents() == ["ir", "vi"]
    assert page.locator("#progress").text_content() == "left out 2 files that are no image"
    page.locator("[name=method]").select_option("average")
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.locator("#result-title").wait_for()
    assert "1 of 2" in page.locator("#result-title").text_content()
    page.get_by_role("button", name="Next scene").click()
    assert "2 of 2" in page.locator("#result-title").text_content()
    assert pixels_of(page, ".film img") == [96] * 3


def test_images_can_be_dropped_anywhere_and_sources_exchanged(
    visit: Visit, scene: tuple[Array, Array], tmp_path: Path
) -> None:
    page = visit.page
    data = [list(file.read_bytes()) for file in files_of(tmp_path, scene)]
    transfer = page.evaluate_handle(
        """data => { const transfer = new DataTransfer();
        data.forEach((bytes, k) => transfer.items.add(new File([new Uint8Array(bytes)], `drop-${k}.png`)));
        return transfer; }""",
        data,
    )
    page.dispatch_event("#gallery", "dragover", {"dataTransfer": transfer})
    assert page.locator("body.over").count() == 1
    page.dispatch_event("#gallery", "drop", {"dataTransfer": transfer})
    page.locator("#sources li").nth(1).wait_for()
    assert page.locator("body.over").count() == 0
    page.get_by_role("button", name="Move drop-0.png down").click()
    assert page.locator("#sources b").all_text_contents() == ["drop-1.png", "drop-0.png"]
    page.locator("[name=method]").select_option("copy-a")
    page.get_by_role("button", name="Fuse", exact=True).click()
    page.locator("#result-title").wait_for()
    with page.expect_download() as image:
        page.get_by_role("link", name="Fused image").click()
    assert np.array_equal(cv2.imread(str(image.value.path()), cv2.IMREAD_UNCHANGED), scene[1] >> 8)


def test_a_phone_shows_everything_without_scrolling_sideways(phone: Visit) -> None:
    page = phone.page
    page.locator("#gallery .tile").nth(4).tap()
    page.locator("#result-title").wait_for()
    assert pixels_of(page, ".stage img")[0] > 0
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert page.locator("#result-title").evaluate("node => node.getBoundingClientRect().top") < 844
    small = page.locator("main button, main select, main input[type=text]").evaluate_all(
        "nodes => nodes.filter(node => node.offsetHeight && node.offsetHeight < 24).length"
    )
    assert small == 0


def test_every_control_has_a_name(visit: Visit) -> None:
    page = visit.page
    page.locator("#gallery .tile").first.click()
    page.locator("#result-title").wait_for()
    nameless = page.locator("button, a, select, input:not([hidden])").evaluate_all(
        "nodes => nodes.filter(node => !(node.textContent.trim() || node.title || node.getAttribute('aria-label')"
        " || node.labels && node.labels.length)).map(node => node.outerHTML)"
    )
    assert nameless == []


def test_ctrl_c_ends_the_server_and_leaves_no_files(served: Served) -> None:
    assert [place.name.startswith("fusionkit-app-") for place in served.temporary.iterdir()] == [True]
    served.process.send_signal(signal.SIGINT)
    served.process.wait(30)
    assert list(served.temporary.iterdir()) == []
