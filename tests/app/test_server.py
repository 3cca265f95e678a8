"""The page's server: what it fuses is what the library fuses, what it refuses it says in words."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

import fusionkit
from fusionkit.app.choices import Choices
from fusionkit.app.fuse_job import FuseJob, Order
from fusionkit.app.server import AppServer
from fusionkit.fuse.source_maps import compute_maps
from fusionkit.io.images import Image
from fusionkit.metrics import score_files
from fusionkit.models.weights import WeightsInfo, save_fuser
from fusionkit.plugins import catalogue
from tests.app.conftest import Array, encoded

Send = Callable[..., Any]


def pixels(data: bytes) -> Array:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def pair(scene: tuple[Array, Array]) -> tuple[tuple[str, str, bytes], ...]:
    return ("source1", "ir.png", encoded(scene[0])), ("source2", "vi.png", encoded(scene[1]))


def test_two_images_are_fused_scored_and_recorded_as_the_library_does(
    client: TestClient, send: Send, fuse: Send, scene: tuple[Array, Array], tmp_path: Path
) -> None:
    found = send(*pair(scene)).json()
    assert found["task"] == "ivif"
    job = fuse(found, profile="standard")
    assert job["state"] == "done", job
    result = client.get(f"{job['address']}/files/0.result")
    assert result.headers["content-disposition"].startswith("attachment")

    files = [tmp_path / name for _, name, _ in pair(scene)]
    for file, (_, _, data) in zip(files, pair(scene), strict=True):
        file.write_bytes(data)
    expected = fusionkit.load("laplacian", "ivif", device="cpu").fuse(*files)
    assert np.array_equal(pixels(result.content), expected.array())
    expected.save(tmp_path / "fused.png")
    scores = job["scenes"][0]["scores"]
    known = score_files(tmp_path / "fused.png", *files, metrics=list(scores)).mean()
    assert len(scores) == 6
    assert scores == pytest.approx(known, rel=1e-12)

    record = client.get(f"{job['address']}/files/record").json()
    assert record["sources"] == ["ir.png", "vi.png"]
    digests = [hashlib.sha256(data).hexdigest() for _, _, data in pair(scene)]
    assert record["sources_sha256"] == {job["scenes"][0]["file"]: digests}
    assert record["model"] == "laplacian"
    assert record["scores"]["values"][job["scenes"][0]["file"]] == scores
    assert "fusionkit-app-" not in str(record)


def test_what_is_shown_is_the_result_and_every_map(
    client: TestClient, send: Send, fuse: Send, scene: tuple[Array, Array]
) -> None:
    job = fuse(send(*pair(scene)).json(), method="gff")
    assert job["mapped"] is True
    shown = {name: pixels(client.get(f"{job['address']}/files/0.{name}").content) for name in ("fused", "source0")}
    assert np.array_equal(shown["fused"], pixels(client.get(f"{job['address']}/files/0.result").content))
    assert np.array_equal(shown["source0"], scene[0] >> 8)
    maps = job["scenes"][0]["maps"]
    images = [Image((one >> 8).astype(np.uint8)[..., None]) for one in scene]
    expected = compute_maps(fusionkit.load("gff", "ivif", device="cpu"), images)
    assert set(maps) == set(expected)
    for name, weights in expected.items():
        drawn = pixels(client.get(f"{job['address']}/files/0.map.{name}").content)
        assert np.array_equal(drawn, np.rint(255 * weights[0, 0].double().numpy()).astype(np.uint8))
    packed = zipfile.ZipFile(io.BytesIO(client.get(f"{job['address']}/all.zip").content))
    names = set(packed.namelist())
    assert {"fusion.json", job["scenes"][0]["file"]} <= names
    assert len(names) == 2 + len(maps)


def test_images_of_16_bits_give_16_bits_and_are_shown_in_8(
    client: TestClient, send: Send, fuse: Send, scene: tuple[Array, Array]
) -> None:
    files = [(f"source{k + 1}", f"{k}.tif", encoded(one, ".tif", bits=16)) for k, one in enumerate(scene)]
    found = send(*files).json()
    assert found["sources"][0]["about"] == "96x80, 16 bits, grey"
    assert pixels(client.get(f"/api/sets/{found['set']}/source/0.png").content).dtype == np.uint8
    job = fuse(found, ranges=["full", "full"])
    assert job["scenes"][0]["bits"] == 16
    fused = pixels(client.get(f"{job['address']}/files/0.result").content)
    model = fusionkit.load("laplacian", "ivif", device="cpu")
    assert np.array_equal(fused, model.fuse(*scene, ranges="full").array(bits=16))
    shown = pixels(client.get(f"{job['address']}/files/0.fused").content)
    assert np.array_equal(shown, np.rint(fused / 257.0).astype(np.uint8))


def test_folders_are_matched_and_what_lacks_a_partner_is_named(
    client: TestClient, send: Send, fuse: Send, scene: tuple[Array, Array]
) -> None:
    data = [encoded(one) for one in scene]
    files = [("source1", "x.png", data[0]), ("source1", "y.png", data[1]), ("source1", "z.png", data[0])]
    files += [("source2", "y.png", data[0]), ("source2", "x.png", data[1])]
    found = send(*files, label1="vis", label2="ir").json()
    assert (found["task"], found["order"], found["scenes"]) == ("ivif", [1, 0], 3)
    job = fuse(found)
    assert [one["name"] for one in job["scenes"]] == ["x", "y"]
    assert job["problems"] == ["z: no partner in source2"]
    assert job["scenes"][0]["sources"] == ["ir", "vis"]


def test_sources_of_two_sizes_are_refused_in_words_and_fused_when_resized(
    send: Send, fuse: Send, scene: tuple[Array, Array]
) -> None:
    small = cv2.resize(scene[0], (48, 40), interpolation=cv2.INTER_AREA)
    found = send(("source1", "ir.png", encoded(small)), ("source2", "vi.png", encoded(scene[1]))).json()
    job = fuse(found)
    assert job["state"] == "failed"
    assert "sources differ in size (source1/ir.png 48x40, source2/vi.png 96x80)" in job["error"]
    assert "--" not in job["error"]
    assert fuse(found, align="resize")["scenes"][0]["size"] == "96x80"


def test_a_shift_is_taken_back_by_the_alignment(client: TestClient, send: Send, fuse: Send) -> None:
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.random((170, 190)), (0, 0), 2)
    wide = np.rint(65535 * (wide - wide.min()) / np.ptp(wide)).astype(np.uint16)
    here, there = wide[10:138, 10:138], wide[14:142, 3:131]
    found = send(("source1", "a.png", encoded(there)), ("source2", "b.png", encoded(here))).json()
    noted = fuse(found)
    assert any("shifted" in note and "--" not in note for note in noted["notes"])
    job = fuse(found, align="translation")
    assert job["state"] == "done", job
    record = client.get(f"{job['address']}/files/record").json()
    (matrix,) = [one["matrix"] for one in record["align"]["transforms"][job["scenes"][0]["file"]] if one]
    assert np.allclose(np.abs(np.array(matrix)[:2, 2]), (7, 4), atol=0.3)
    shown = pixels(client.get(f"{job['address']}/files/0.source0").content).astype(int)
    assert np.abs(shown - (here >> 8))[20:-20, 20:-20].mean() < 2


def test_a_scene_of_the_gallery_is_fused_with_its_known_result(client: TestClient, fuse: Send) -> None:
    scenes = client.get("/api/gallery").json()
    assert {one["task"] for one in scenes} == {"ivif", "mif", "mfif", "meif"}
    number = next(k for k, one in enumerate(scenes) if one["task"] == "mfif")
    small = pixels(client.get(f"/api/gallery/{number}/1.png").content)
    assert max(small.shape) == 240
    found = client.post(f"/api/gallery/{number}").json()
    assert found["task"] == "mfif"
    job = fuse(found, task="mfif", method="focus-select")
    assert job["state"] == "done", job
    assert job["scenes"][0]["truth"] is True
    truth, fused = (pixels(client.get(f"{job['address']}/files/0.{n}").content).astype(int) for n in ("truth", "fused"))
    assert np.abs(truth - fused).mean() < 3
    assert client.get(f"/api/gallery/{len(scenes)}/0.png").status_code == 400


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "no image arrived"),
        ([("source1", "notes.txt", b"hello")], "notes.txt: is no image that is read here (.arw, .avif"),
        ([("source1", "broken.png", b"hello")], "source1/broken.png: "),
        ([("other", "a.png", b"hello")], "a field that is not known"),
        ([("source1", f"{k}.png", b"") for k in range(7)], "Too many files. Maximum number of files is 6."),
        ([("source1", "a.png", bytes(3_000_000))], "larger than 2 MB together: send fewer"),
    ],
)
def test_an_upload_that_cannot_be_used_is_refused_in_words_and_leaves_nothing(
    send: Send, server: AppServer, files: list[Any], words: str
) -> None:
    answer = send(*files)
    assert answer.status_code in (400, 413)
    assert words in answer.json()["error"]
    assert str(server.room.folder) not in answer.text
    assert server.room.sets == {}
    assert not [file for file in server.room.folder.iterdir() if file.is_dir()]


def test_an_upload_that_does_not_tell_its_length_is_cut_off(client: TestClient, server: AppServer) -> None:
    def parts() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="source1"; filename="a.png"\r\n\r\n'
        for _ in range(40):
            yield bytes(100_000)

    answer = client.post("/api/sets", content=parts(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413
    assert "2 MB" in answer.json()["error"]
    assert server.room.sets == {}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"order": [0]}, "two or more sources are needed to fuse, got 1"),
        ({"order": [0, 0]}, "names a source twice"),
        ({"order": [0, 5]}, "one that is not there"),
        ({"task": "miff"}, "the task 'miff' is not known"),
        ({"method": "/etc/passwd"}, "the method '/etc/passwd' is not offered for ivif"),
        ({"method": "refusion:mif"}, "is not offered for ivif"),
        ({"ranges": ["auto", "wide"]}, "range of source 2 wide: "),
        ({"ranges": ["auto"]}, "one range per source is needed"),
        ({"align": "nowhere"}, "align nowhere: "),
        ({"profile": "mine"}, "mine"),
    ],
)
def test_what_cannot_be_fused_is_said_in_words(
    send: Send, fuse: Send, scene: tuple[Array, Array], asked: dict[str, Any], words: str
) -> None:
    job = fuse(send(*pair(scene)).json(), **asked)
    assert job["state"] == "failed"
    assert words in job["error"]
    assert "internal" not in job["error"]


def test_a_request_of_another_form_is_refused(client: TestClient, send: Send, scene: tuple[Array, Array]) -> None:
    address = f"/api/sets/{send(*pair(scene)).json()['set']}/jobs"
    for body in ({"order": ["0", 1]}, {"order": [0, 1], "folder": "/"}, {}):
        answer = client.post(address, json={"task": "ivif", "method": "laplacian", "ranges": [], **body})
        assert answer.status_code == 400
    assert client.post(address, content=b"{").status_code == 400
    assert client.get("/api/nothing").json() == {"error": "Not Found"}


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8765"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_pages_and_names_are_refused(client: TestClient, server: AppServer, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/"), ("POST", "/api/gallery/0")):
        assert client.request(method, path, headers=headers).status_code == 403
    assert server.room.sets == {}


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:9999", "[::1]:80", "localhost"])
def test_the_own_page_is_answered_under_every_name_of_this_machine(client: TestClient, host: str) -> None:
    headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert client.get("/", headers=headers).status_code == 200


def test_the_page_asks_for_nothing_elsewhere_and_may_not(client: TestClient) -> None:
    for path in ("/", "/app.js", "/app.css"):
        answer = client.get(path)
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s'\"]*", answer.text)) - {
            "http://www.w3.org/2000/svg"
        }
        assert addresses == set()
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_what_belongs_to_a_set_is_found_by_its_own_names_alone(
    client: TestClient, send: Send, fuse: Send, scene: tuple[Array, Array]
) -> None:
    job = fuse(send(*pair(scene)).json())
    for name in ("..%2f..%2fsmall0.png", "fusion.json", "0.other", "%2e%2e", "shown"):
        assert client.get(f"{job['address']}/files/{name}").status_code == 404
    assert client.get(job["address"].replace("/api/sets/", "/api/sets/x")).status_code == 404


def test_a_set_that_is_given_back_is_gone_with_its_results(
    client: TestClient, server: AppServer, send: Send, fuse: Send, scene: tuple[Array, Array]
) -> None:
    found = send(*pair(scene)).json()
    job = fuse(found)
    assert client.delete(f"/api/sets/{found['set']}").status_code == 200
    answer = client.get(f"{job['address']}/files/0.fused")
    assert answer.status_code == 404
    assert "drop them again" in answer.json()["error"]
    assert [file for file in server.room.folder.iterdir() if file.is_dir()] == []


def test_a_fusing_that_is_cancelled_leaves_no_results(
    server: AppServer, send: Send, scene: tuple[Array, Array]
) -> None:
    kept = server.room.find(send(*pair(scene)).json()["set"])
    order = Order(order=[0, 1], task="ivif", method="laplacian", ranges=["auto", "auto"])
    job = FuseJob("key", kept, order, server.choices)
    job.cancel()
    job.run()
    assert job.describe()["state"] == "cancelled"
    assert not job.folder.exists()


def test_a_fault_of_the_server_is_an_error_in_words(
    server: AppServer, send: Send, fuse: Send, scene: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(server.choices, "model", fail)
    job = fuse(send(*pair(scene)).json())
    assert job["error"] == "internal error: RuntimeError: a fault (please report)"


def test_a_file_with_pages_is_a_stack_of_them(
    client: TestClient, send: Send, fuse: Send, scene: tuple[Array, Array], tmp_path: Path
) -> None:
    cv2.imwritemulti(str(tmp_path / "stack.tif"), [scene[0], scene[1], scene[0] // 2])
    found = send(("source1", "stack.tif", (tmp_path / "stack.tif").read_bytes())).json()
    assert [source["label"] for source in found["sources"]] == [f"stack.tif, page {k}" for k in range(3)]
    job = fuse(found, method="maximum", ranges=["full"] * 3)
    assert job["scenes"][0]["bits"] == 16
    fused = pixels(client.get(f"{job['address']}/files/0.result").content)
    assert np.abs(fused.astype(int) - np.maximum(*scene)).max() <= 1


def test_models_of_the_user_are_offered_first_and_told_apart(tmp_path: Path) -> None:
    kind = catalogue.fusers.get("refusion")
    for name in ("one", "two"):
        fuser: Any = kind(kind.Config(dim=4, heads=2, blocks=1))
        save_fuser(tmp_path / name / "mine.safetensors", fuser, WeightsInfo(fuser="refusion", task="mif"))
    files = [str(tmp_path / name / "mine.safetensors") for name in ("one", "two")]
    both, one = Choices(files, device="cpu"), Choices(files[:1], device="cpu")
    assert list(both.methods["mif"][:2]) == files
    assert one.methods["mif"][0] == "mine.safetensors"
    assert "mine.safetensors" not in one.methods["ivif"]
    assert one.model("mine.safetensors", "mif").task == "mif"


def test_a_profile_without_the_tasks_metrics_is_refused_in_words(
    send: Send, fuse: Send, server: AppServer, scene: tuple[Array, Array]
) -> None:
    found = send(*pair(scene)).json()
    for profile in server.choices.profiles():
        job = fuse(found, profile=profile)
        assert job["state"] == "done" or job["error"].endswith("choose another profile"), job
