"""``fusionkit plugins new``: names, refusals, and a package that installs, passes its own tests and is found."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from fusionkit.cli import main
from fusionkit.errors import DataError, UsageError
from fusionkit.plugins import scaffold
from fusionkit.plugins.scaffold import create
from fusionkit.runtime.python310 import tomllib
from tests.support.child_processes import Child


def shell(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def beside(site: Path, *command: str, cwd: Path) -> tuple[str, str]:
    """Run a module with a folder of installed packages on the path; what it printed."""
    child = Child("-m", *command, env={"PYTHONPATH": str(site)}, cwd=cwd)
    said = child.communicate(300)
    assert child.returncode == 0, said
    return said


@pytest.mark.parametrize("name", ["edge-keeper", "fusionkit-edge-keeper", "fusionkit_edge-keeper", "edge_keeper"])
def test_the_name_gives_folder_distribution_and_package(tmp_path: Path, name: str) -> None:
    root = create(name, tmp_path / "new" / "folder")
    assert root == tmp_path / "new" / "folder" / "fusionkit-edge-keeper"
    assert (root / "src" / "fusionkit_edge_keeper" / "fuser.py").is_file()
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["name"] == "fusionkit-edge-keeper"
    assert {group.removeprefix("fusionkit.") for group in project["entry-points"]} == {
        "fusers",
        "loss_proposers",
        "reconstructors",
        "metrics",
        "trainers",
        "profiles",
        "published_tables",
    }
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["fusionkit-edge-keeper"]


def test_nothing_of_the_template_is_left_in_what_is_written(tmp_path: Path) -> None:
    root = create("edge-keeper", tmp_path)
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert "$" not in path.read_text()
        assert not path.name.endswith(".template")
    modes = {path.stat().st_mode & 0o777 for path in files}
    assert len(modes) == 1
    assert root.stat().st_mode & 0o500 == 0o500


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Edge Keeper", "for example 'edge-keeper'"),
        ("2edge", "for example 'edge'"),
        ("edge--keeper", "for example 'edge-keeper'"),
        ("-edge", "for example 'edge'"),
        ("édge", "for example 'dge'"),
        ("../edge", "for example 'edge'"),
        ("", "use lower-case letters"),
        ("x" * 41, "at most 40 characters"),
    ],
)
def test_a_name_that_cannot_be_a_packages_is_refused_with_one_that_can(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        create(name, tmp_path)
    assert told in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [("refusion", "image-fusionkit 0.1.0 has a fuser 'refusion'"), ("ivif", "has a task 'ivif'")],
)
def test_a_name_that_is_taken_is_refused(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        create(name, tmp_path)


def test_a_name_whose_package_is_installed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fusionkit_classical is installed already"):
        create("classical", tmp_path)


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    root = create("edge-keeper", tmp_path)
    (root / "README.md").write_text("mine")
    result = CliRunner().invoke(main, ["plugins", "new", "edge-keeper", "--dir", str(tmp_path)])
    assert result.exit_code == 4
    assert result.stderr.startswith(f"error: {root}: is there already")
    assert (root / "README.md").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/fusionkit-edge-keeper: cannot be written \(Not a directory\)"):
        create("edge-keeper", tmp_path / "file")


def test_nothing_is_left_when_writing_fails_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    write_text = Path.write_text

    def full_disk(self: Path, *args: object, **kwargs: object) -> int:
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(self)
        return write_text(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(scaffold.Path, "write_text", full_disk)
    with pytest.raises(DataError, match="No space left on device"):
        create("edge-keeper", tmp_path)
    assert len(written) == 4
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A new package and the folder that pip installed it into."""
    folder, site = tmp_path_factory.mktemp("scaffold"), tmp_path_factory.mktemp("site")
    result = CliRunner().invoke(main, ["plugins", "new", "edge-keeper", "--dir", str(folder)])
    assert result.exit_code == 0, result.stderr
    root = Path(result.stdout.strip())
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "-q"]
    done = shell("pip", "install", *options, "--target", str(site), str(root))
    assert done.returncode == 0, done.stderr
    return root, site


def test_the_new_package_passes_its_own_tests(installed: tuple[Path, Path]) -> None:
    root, site = installed
    printed, _ = beside(site, "pytest", "-q", "-p", "no:cacheprovider", cwd=root)
    assert "passed" in printed
    assert "skipped" not in printed


def test_the_new_package_is_listed_and_loads_without_a_problem(installed: tuple[Path, Path]) -> None:
    root, site = installed
    listed, _ = beside(site, "fusionkit", "plugins", "list", cwd=root)
    assert "fusionkit_edge_keeper.fuser:EdgeKeeperFuser" in listed
    checked, _ = beside(site, "fusionkit", "plugins", "check", "fusionkit-edge-keeper", cwd=root)
    assert checked.splitlines() == [
        "fuser edge-keeper (fusionkit-edge-keeper 0.1.0): ok",
        "fuser edge-keeper-variance (fusionkit-edge-keeper 0.1.0): ok",
        "reconstructor edge-keeper (fusionkit-edge-keeper 0.1.0): ok",
        "loss proposer edge-keeper (fusionkit-edge-keeper 0.1.0): ok",
        "trainer edge-keeper (fusionkit-edge-keeper 0.1.0): ok",
        "metric edge-keeper-nearest (fusionkit-edge-keeper 0.1.0): ok",
        "metric profile edge-keeper (fusionkit-edge-keeper 0.1.0): ok",
        "paper edge-keeper (fusionkit-edge-keeper 0.1.0): ok",
    ]


KINDS = ("fuser", "metric", "aligner", "dataset", "task", "outer-loss", "downstream", "profile")


def test_each_kind_written_alone_installs_and_passes_its_own_tests(tmp_path: Path) -> None:
    site = tmp_path / "site"
    roots = []
    for kind in KINDS:
        result = CliRunner().invoke(main, ["plugins", "new", f"own-{kind}", "--only", kind, "--dir", str(tmp_path)])
        assert result.exit_code == 0, result.stderr
        roots.append(result.stdout.strip())
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "-q"]
    done = shell("pip", "install", *options, "--target", str(site), *roots)
    assert done.returncode == 0, done.stderr
    tests = [f"{root}/tests" for root in roots]
    printed, _ = beside(site, "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *tests, cwd=tmp_path)
    assert f"{3 * len(KINDS)} passed" in printed


def test_several_kinds_make_one_package_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    root = create("mine", tmp_path, only=("metric", "profile"))
    groups = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]
    assert set(groups) == {"fusionkit.metrics", "fusionkit.profiles", "fusionkit.published_tables"}
    assert '"mine-nearest": {}' in (root / "src/fusionkit_mine/profile.py").read_text()
    with pytest.raises(UsageError, match="--only metrics: no such kind: did you mean 'metric'"):
        create("other", tmp_path, only=("metrics",))
    result = CliRunner().invoke(main, ["plugins", "new", "old", "--only", "critic", "--dir", str(tmp_path)])
    assert result.stderr.startswith("note: --only critic is called --only outer-loss now\n")
    assert (tmp_path / "fusionkit-old/src/fusionkit_old/outer_loss.py").is_file()


def test_each_kind_written_alone_is_clean_to_the_linter(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    for kind in KINDS:
        create(f"u2-{kind}", tmp_path, only=(kind,))
    create("all-of-them", tmp_path, only=KINDS)
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = shell("ruff", *command, str(tmp_path))
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["edge-keeper", "aa", "zz", "none", "u2-net3"])
def test_the_new_package_is_clean_to_the_linter_whatever_its_name(tmp_path: Path, name: str) -> None:
    pytest.importorskip("ruff")
    root = create(name, tmp_path)
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = shell("ruff", *command, str(root))
        assert done.returncode == 0, done.stdout


def test_every_file_of_the_template_is_in_the_wheel(tmp_path: Path) -> None:
    package = Path(scaffold.__file__).parents[1]
    if not (package.parent / "pyproject.toml").is_file():
        pytest.skip("needs the source tree, to build a wheel of it")
    done = shell("hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=package.parent)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    template = {path.relative_to(package.parent).as_posix() for path in (package / "plugins").rglob("*.template")}
    assert len(template) > 10
    assert template <= set(zipfile.ZipFile(wheel).namelist())
