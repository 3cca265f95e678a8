"""What the tests of the page share: a server in this process, with its temporary files below the test's own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra 'app'")
pytest.importorskip("uvicorn", reason="needs the extra 'app'")
pytest.importorskip("python_multipart", reason="needs the extra 'app'")
pytest.importorskip("httpx2", reason="needs httpx2, which the client of the tests is built on")

from starlette.testclient import TestClient

from fusionkit.app.choices import Choices
from fusionkit.app.server import AppServer
from fusionkit.app.uploads import Limits

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="session")
def choices() -> Choices:
    return Choices(device="cpu")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder of temporary files, for this test alone."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def server(choices: Choices, temporary: Path) -> AppServer:
    return AppServer(choices, limits=Limits(files=6, megabytes=2))


@pytest.fixture
def client(server: AppServer) -> Iterator[TestClient]:
    with TestClient(server.app, base_url="http://127.0.0.1:8765") as client:
        yield client


@pytest.fixture(scope="session")
def scene() -> tuple[Array, Array]:
    """Two grey pictures of one scene, 96 x 80 pixels of 16 bits: blobs, and stripes."""
    y, x = np.mgrid[0:80, 0:96]
    blobs = np.exp(-((x - 30) ** 2 + (y - 40) ** 2) / 200) + 0.5 * np.exp(-((x - 70) ** 2 + (y - 20) ** 2) / 90)
    stripes = 0.5 + 0.3 * np.sin(x / 3) * np.cos(y / 5)
    scaled = [np.rint(65535 * values.clip(0, 1)).astype(np.uint16) for values in (blobs, stripes)]
    return scaled[0], scaled[1]


def encoded(pixels: Array, suffix: str = ".png", *, bits: int = 8) -> bytes:
    """Write pixels of 16 bits as a file's bytes."""
    values = (pixels >> 8).astype(np.uint8) if bits == 8 else pixels
    return bytes(cv2.imencode(suffix, values)[1])


@pytest.fixture
def send(client: TestClient) -> Callable[..., Any]:
    """Upload files, given as (field, name, bytes); returns the answer."""

    def upload(*files: tuple[str, str, bytes], **labels: str) -> Any:
        return client.post("/api/sets", files=[(field, (name, data)) for field, name, data in files], data=labels)

    return upload


@pytest.fixture
def fuse(client: TestClient) -> Callable[..., Any]:
    """Fuse a set by the page's own steps; returns the last state of the job, with its address."""

    def run(found: dict[str, Any], **asked: Any) -> Any:
        order = asked.pop("order", found["order"])
        asked = {"task": "ivif", "method": "laplacian", "ranges": ["auto"] * len(order), **asked}
        answer = client.post(f"/api/sets/{found['set']}/jobs", json={"order": order, **asked})
        assert answer.status_code == 200, answer.text
        address = f"/api/sets/{found['set']}/jobs/{answer.json()['key']}"
        for _ in range(600):
            state = client.get(address).json()
            if state["state"] not in ("waiting", "running"):
                return {**state, "address": address}
            time.sleep(0.05)
        raise AssertionError("the fusing does not end")

    return run
