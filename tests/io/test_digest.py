"""Digests of files against known answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusionkit.errors import DataError
from fusionkit.io.digest import file_digest


def test_the_digest_is_sha256(tmp_path: Path) -> None:
    # The test vector of FIPS 180-2, and one longer than any buffer.
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "million").write_bytes(b"a" * 1_000_000)
    assert file_digest(tmp_path / "million") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: cannot be read: No such file"):
        file_digest(tmp_path / "gone.png")
