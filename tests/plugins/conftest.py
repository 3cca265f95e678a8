"""Distributions made of text: metadata folders and modules, as an installer would leave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

Offer = Callable[..., Path]


def render_entry_points(groups: Mapping[str, Mapping[str, str]]) -> str:
    return "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in offers.items()) + "\n"
        for group, offers in groups.items()
    )


@pytest.fixture
def offer(tmp_path: Path) -> Offer:
    """Lays a distribution into a folder (``site`` by default) and returns that folder."""

    def lay(
        name: str,
        entry_points: Mapping[str, Mapping[str, str]] | str | bytes,
        *,
        version: str = "1.0",
        requires: Sequence[str] = (),
        modules: Mapping[str, str] | None = None,
        metadata: str | bytes | None = None,
        site: str = "site",
        suffix: str = "dist-info",
    ) -> Path:
        folder = tmp_path / site
        info = folder / f"{name.replace('-', '_')}-{version}.{suffix}"
        info.mkdir(parents=True)
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        head += "".join(f"Requires-Dist: {text}\n" for text in requires) + "\nA body: with a colon.\n"
        stated = metadata if metadata is not None else head
        file = info / ("METADATA" if suffix == "dist-info" else "PKG-INFO")
        file.write_bytes(stated if isinstance(stated, bytes) else stated.encode())
        text = render_entry_points(entry_points) if isinstance(entry_points, Mapping) else entry_points
        (info / "entry_points.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        for module, source in (modules or {}).items():
            (folder / f"{module}.py").write_text(source)
        return folder

    return lay
