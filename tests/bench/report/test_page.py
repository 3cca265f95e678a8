"""The page in a real browser, from disk, under its own content policy."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fusionkit.bench.record_files import write_record
from fusionkit.bench.report.board import write_board
from tests.support.boardrecords import EVIL, IVIF_METRICS, bench_folder, record
from tests.support.chromium import BROWSER, NEEDS_BROWSER

pytestmark = NEEDS_BROWSER

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--virtual-time-budget=4000"),
)

_DRIVER = """
addEventListener('error', event => faults.push(String(event.message)));
addEventListener('securitypolicyviolation', event => faults.push(event.violatedDirective + ' ' + event.blockedURI));
const all = selector => [...document.querySelectorAll(selector)];
const one = selector => document.querySelector(selector);
const text = selector => all(selector).map(node => node.textContent);
const wait = () => new Promise(done => setTimeout(done, 120));
const closeAll = () => all('dialog[open]').forEach(dialog => dialog.querySelector('.close').click());
const press = (node, key) => node.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
const loaded = async images => {
  for (const image of images) image.loading = 'eager';
  const ready = () => images.every(image => image.complete && image.naturalWidth);
  for (let tries = 0; tries < 20 && !ready(); tries += 1) await wait();
  return images.map(image => image.naturalWidth);
};
addEventListener('load', async () => {
  let result = null;
  for (let tries = 0; tries < 50 && !one('main h1'); tries += 1) await wait();
  try { await wait(); result = await (async () => { BODY })(); } catch (error) { faults.push(String(error)); }
  document.documentElement.dataset.result = JSON.stringify({ result, faults });
});
"""


def _browse(target: Path, address: str, *extra: str) -> str:
    profile = target.parent / "browser profile"
    command = [str(BROWSER), *_OPTIONS, f"--user-data-dir={profile}", *extra, target.as_uri() + address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _drive(out: Path, body: str, address: str = "", width: int = 1400) -> Any:
    """What ``body`` returns when it runs in the page, after which nothing may have gone wrong in it.

    The policy stays: the script that drives the page is let in by its digest.
    """
    script = "const faults = [];" + _DRIVER.replace("BODY", body)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = (out / "index.html").read_text(encoding="utf-8")
    page = page.replace("script-src ", f"script-src 'sha256-{allowed}' ", 1)
    page = page.replace("<!doctype html>", "", 1).replace("<title>", f"<script>{script}</script><title>", 1)
    driven = out / "driven.html"
    driven.write_text(f"<!doctype html>{page}", encoding="utf-8")
    document = _browse(driven, address, f"--window-size={width},900", "--dump-dom")
    found = re.search(r'data-result="([^"]*)"', document)
    assert found, document[:2000]
    told = json.loads(html.unescape(found[1]))
    assert told["faults"] == []
    return told["result"]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = bench_folder(tmp_path_factory.mktemp("board") / "bench")
    lower = {"LowA": [1.0, 2.0], "LowB": [5.0, 3.0]}
    for place, name in enumerate(("first", "second")):
        values = {metric: [value + place for value in column] for metric, column in lower.items()}
        write_record(out, record(name, values, dataset="TNO", lower=["LowA", "LowB"], profile="standard"))
    write_board(out)
    return out


_DESKTOP = {
    "page": """
        return {
          title: document.title, names: text('.board tbody:not(.published) .name'), scripts: all('script').length,
          inlineImages: all('main img[src="x"]').length,
          widths: await loaded(all('main img')),
          landmarks: ['header', 'nav[aria-label]', 'main', 'footer'].filter(name => one(name)),
          headings: text('h1').concat(text('main h2')),
          nameless: all('button, a, select, input').filter(node => !(node.textContent.trim() || node.title
            || node.getAttribute('aria-label') || node.labels && node.labels.length)).length,
          published: text('.published .name').length,
          wide: document.documentElement.scrollWidth - innerWidth,
          sorted: one('th[aria-sort]').getAttribute('aria-sort'),
        };
    """,
    "sorting": """
        const order = () => text('.board tbody:not(.published) .name');
        const click = key => { one(`[data-key="${key}"]`).focus(); one(`[data-key="${key}"]`).click(); };
        click('seconds'); const fast = order();
        click('seconds'); const slow = order();
        click('EN'); const best = order();
        const focused = document.activeElement.dataset.key;
        return { fast, slow, best, focused, published: text('.published .name')[0] };
    """,
    "number": """
        const row = all('.board tbody:not(.published) tr')[2];
        [...row.querySelectorAll('.mean')][4].click();
        await wait();
        const drawer = one('#values');
        const listed = [...drawer.querySelectorAll('.entry .grow')].map(node => node.firstChild.textContent);
        const shown = [...drawer.querySelectorAll('.entry .value')].map(node => node.textContent);
        const reason = drawer.querySelector('.flag').textContent;
        drawer.querySelector('.entry').click();
        await wait();
        const film = text('#viewer figcaption');
        return { open: drawer.open, heading: text('#values-title')[0], listed, shown, reason, film,
          viewer: one('#viewer').open, b: one('#viewer select[name=b]').value, hash: decodeURIComponent(location.hash),
          widths: await loaded(all('#viewer .pane img')), absent: all('#viewer .pane .absent:not([hidden])').length };
    """,
    "viewer": """
        closeAll(); location.hash = 't=0&i=1&a=source:1&b=method:beta'; await wait();
        const stage = () => one('#viewer .stage');
        const split = () => Number(stage().style.getPropertyValue('--split'));
        const scale = () => one('#viewer .pane img').style.transform;
        const focused = document.activeElement === stage();
        press(stage(), 'ArrowRight'); const moved = split();
        press(stage(), '+'); press(stage(), '+'); const near = scale();
        press(stage(), 'ArrowRight'); const panned = scale();
        press(stage(), '0'); const fitted = scale();
        const next = one('#viewer [aria-label="Next image"]');
        next.focus(); next.click();
        const title = one('#viewer-title').firstChild.textContent;
        const kept = document.activeElement.getAttribute('aria-label');
        one('#viewer input[value=difference]').click();
        const gain = stage().classList.contains('mode-difference') && !one('#viewer .gain').hidden;
        one('#viewer [aria-label="Exchange the two images"]').click();
        const sides = [one('select[name=a]').value, one('select[name=b]').value];
        one('#viewer .close').click();
        const [open, hash] = [one('#viewer').open, location.hash];
        return { focused, moved, near, panned, fitted, title, kept, gain, sides, open, hash };
    """,
}


@pytest.fixture(scope="module")
def desktop(board: Path) -> dict[str, Any]:
    """What each script of ``_DESKTOP`` finds, one after the other in one page."""
    steps = ", ".join(f"{name}: await (async () => {{{body}}})()" for name, body in _DESKTOP.items())
    return _drive(board, f"return {{ {steps} }};")


def test_names_are_text_images_load_and_everything_has_a_name_and_a_place(desktop: dict[str, Any]) -> None:
    result = desktop["page"]
    assert result["title"] == "MSRS-test: fusion leaderboard"
    assert result["names"] == [EVIL, "beta", "alpha"]
    assert result["inlineImages"] == 0
    assert result["widths"] == [48] * 4
    assert result["landmarks"] == ["header", "nav[aria-label]", "main", "footer"]
    assert result["headings"] == ["MSRS-test", "Leaderboard", "Quality against speed", "Image by image", "Images"]
    assert result["nameless"] == 0
    assert result["published"] == 10
    assert result["wide"] <= 0
    assert result["sorted"] == "ascending"


def test_a_table_sorts_by_any_column_and_keeps_the_focus(desktop: dict[str, Any]) -> None:
    result = desktop["sorting"]
    assert result["fast"] == ["alpha", "beta", EVIL]
    assert result["slow"] == result["best"] == [EVIL, "beta", "alpha"]
    assert result["focused"] == "EN"
    assert result["published"] == "SDNet"


def test_a_number_leads_to_its_images_and_an_image_to_every_result(desktop: dict[str, Any]) -> None:
    result = desktop["number"]
    assert result["heading"] == "SCD of alpha"
    assert result["listed"] == ["pair #0 ä", "pair #2 ä", "pair #3 ä", "pair #1 ä"]
    assert result["shown"] == ["1.0000", "1.2000", "1.3000", "–"]
    assert result["reason"] == EVIL
    assert result["viewer"] is True
    assert result["film"] == ["infrared", "visible", EVIL, "beta", "alpha", "w_a of alpha"]
    assert result["b"] == "method:alpha"
    assert "i=0" in result["hash"]
    assert result["widths"] == [48, 48]
    assert result["absent"] == 0


def test_the_viewer_is_worked_by_keys_and_leaves_the_page_as_it_was(desktop: dict[str, Any]) -> None:
    result = desktop["viewer"]
    assert result["focused"] is True
    assert result["moved"] == pytest.approx(0.52)
    assert "scale(2.25)" in result["near"]
    assert "translate(-60px" in result["panned"]
    assert result["fitted"] == "translate(0px, 0px) scale(1)"
    assert result["title"] == "pair #2 ä"
    assert result["kept"] == "Next image"
    assert result["gain"] is True
    assert result["sides"] == ["method:beta", "source:1"]
    assert result["open"] is False
    assert result["hash"] == "#t=0"


def test_a_phone_scrolls_tables_and_not_the_page_and_metrics_turn_with_their_direction(board: Path) -> None:
    result = _drive(
        board,
        """
        return { names: text('.board tbody:not(.published) .name'), best: all('.mean.best').length,
          wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
          picker: getComputedStyle(one('.picker')).display, notes: text('.notes li'),
          small: all('main button, main select').filter(node => !node.hidden && node.offsetHeight < 24).length,
          heading: text('h1')[0] };
        """,
        "#t=1",
        width=390,
    )
    assert result["heading"] == "TNO-test"
    assert result["names"] == ["first", "second"]
    assert result["best"] == 2
    assert result["wide"] <= 0
    assert result["picker"] != "none"
    assert "profile standard: the protocol of ivif is profile refusion" in result["notes"]
    assert result["small"] == 0


def test_colours_follow_the_system(board: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    extra = ("--blink-settings=preferredColorScheme=0", f"--screenshot={shot}", "--window-size=390,844")
    _browse(board / "index.html", "", *extra)
    pixels = cv2.imread(str(shot), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    assert np.median(pixels) < 80
    assert pixels.std() > 10


def test_the_names_in_a_crowded_plot_do_not_cover_each_other(tmp_path: Path) -> None:
    for k in range(9):
        values = {metric: [10.0 + k % 3, 11.0 + k % 2] for metric in IVIF_METRICS}
        write_record(tmp_path, record(f"method {k}", values, seconds=0.01 * 1.15**k))
    write_board(tmp_path)
    result = _drive(
        tmp_path,
        """
        const boxes = all('.plot .label').map(node => node.getBoundingClientRect());
        const shares = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
          && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
        const plot = one('.plot').getBoundingClientRect();
        const covered = boxes.flatMap((a, k) => boxes.slice(k + 1).filter(b => shares(a, b)));
        return { names: boxes.length, covered: covered.length,
          outside: boxes.filter(box => box.left < plot.left - 1 || box.right > plot.right + 1).length };
        """,
    )
    assert result == {"names": 9, "covered": 0, "outside": 0}
