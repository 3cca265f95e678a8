"""The site builds strictly and without a network, and holds what it should."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from fusionkit.cli import main
from tests.support.pages import DOCS, PAGES, READ_ALONE, ROOT

sys.path.insert(0, str(DOCS / "tools"))

NEEDED = ("mkdocs", "material", "mkdocs_click", "mkdocstrings_handlers")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+?)\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        pytest.skip(f"install {', '.join(missing)} to build the documents (pip install -e '.[dev]')")
    folder = tmp_path_factory.mktemp("site")
    # A proxy that is not there: whatever asks for the network fails.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def page(site: Path, name: str) -> str:
    return (site / name / "index.html").read_text(encoding="utf-8")


def commands(group: click.Group, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group, info_name=path[-1])
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


def test_every_command_and_option_is_on_the_page_of_the_command_line(site: Path) -> None:
    text = html.unescape(page(site, "cli"))
    found = commands(main, ("fusionkit",))
    assert len(found) > 10
    for path, command in found:
        assert f"{' '.join(path)} [OPTIONS]" in text, path
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0] in text, (path, option.opts)


def test_every_public_name_is_on_the_page_of_python(site: Path) -> None:
    import fusionkit
    from fusionkit import contracts, errors, testing

    text = page(site, "api")
    for module in (fusionkit, contracts, testing):
        for name in module.__all__:
            assert re.search(rf'id="fusionkit\.[\w.]*\b{name}"', text), name
    assert all(f'id="fusionkit.errors.{kind}"' in text for kind in vars(errors) if kind.endswith("Error"))


def test_formulas_are_drawn_and_docstrings_hold_no_markup_of_another_language(site: Path) -> None:
    assert page(site, "refusion").count('<svg class="formula"') > 10
    for built in site.rglob("index.html"):
        text = built.read_text(encoding="utf-8")
        assert not re.search(r':(func|class|mod|meth|math):|\.\. math::|class="arithmatex">\\', text), built


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for built in site.rglob("*.html"):
        text = built.read_text(encoding="utf-8")
        loads = re.findall(r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)"', text)
        loads += re.findall(r'<link[^>]+rel="stylesheet"[^>]+href="(https?:[^"]+)"', text)
        assert not loads, (built, loads)


@pytest.mark.parametrize("source", [*PAGES, *READ_ALONE], ids=lambda path: path.stem)
def test_links_to_files_resolve_where_the_page_is_read_on_its_own(source: Path) -> None:
    for target in _LINK.findall(source.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "#")):
            assert (source.parent / target.partition("#")[0]).is_file(), target


def test_pictures_are_small() -> None:
    for picture in (DOCS / "images").iterdir():
        largest = 400_000 if picture.stem.startswith("sheet_") else 150_000  # a sheet shows twelve pairs
        assert picture.stat().st_size < largest, picture


@pytest.mark.parametrize(
    "tex", [r"\Big\langle u, v\Big\rangle", r"\tfrac1S\sum_s x_s", r"\frac12 + \tfrac{a}{b}", r"\mathrm{mean}\max_k x"]
)
def test_formulas_are_drawn_in_the_ways_that_docstrings_write_them(tex: str) -> None:
    formulas = pytest.importorskip("formulas")
    for block in (True, False):
        assert re.search(r'<path fill="currentColor" d="M', formulas.drawn(tex, block=block))


def test_a_formula_that_cannot_be_drawn_is_named() -> None:
    formulas = pytest.importorskip("formulas")
    with pytest.raises(ValueError, match=r"cannot draw the formula .*nosuchsymbol"):
        formulas.drawn(r"x + \nosuchsymbol", block=True)
