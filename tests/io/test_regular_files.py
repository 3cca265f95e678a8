"""Files that never end, or nest without end, are refused before they are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from fusionkit.bench.record_files import read_record
from fusionkit.bench.records import Record
from fusionkit.cli import main
from fusionkit.data.labels.class_names import read_classes
from fusionkit.data.manifest import read_manifest
from fusionkit.errors import DataError
from fusionkit.fuse.aligning import read_transforms
from fusionkit.io.digest import file_digest
from fusionkit.io.regular_files import read_json, read_regular, read_regular_text
from fusionkit.plugins import catalogue


@pytest.fixture(params=["pipe", "device"])
def endless(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / "file.json"
    if request.param == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    return file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_refused(endless: Path) -> None:
    for read in (
        lambda: read_record(endless, Record),
        lambda: read_transforms(endless),
        lambda: read_classes(endless),
        lambda: read_manifest(endless, catalogue.tasks.get("ivif")),
        lambda: file_digest(endless),
    ):
        with pytest.raises(DataError, match=r"file\.json: .*is a pipe or a device, no file"):
            read()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_among_results_does_not_stop_the_check(endless: Path) -> None:
    place = endless.parent / "bench/results/ivif/data/refusion/average.json"
    place.parent.mkdir(parents=True)
    endless.rename(place)
    result = CliRunner().invoke(main, ["results", "verify", str(endless.parent / "bench")])
    assert result.exit_code == 4
    assert "average.json: cannot be read: is a pipe or a device, no file" in result.stderr


def test_a_file_is_read_with_and_without_its_mark(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    for mark in (b"", b"\xef\xbb\xbf"):
        file.write_bytes(mark + '{"a": "\u00e9"}'.encode())
        assert read_regular(file) == file.read_bytes()
        assert read_regular_text(file) == '{"a": "\u00e9"}'
        assert read_json(file) == {"a": "\u00e9"}
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)


def test_deep_nesting_is_a_fault_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"no file of transforms .*nested too deeply"):
        read_transforms(tmp_path / "t.json")
