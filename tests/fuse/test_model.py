"""Models: sources of every kind, depth and metadata of the result; and finding a model by what it is called."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile
import torch

from fusionkit.errors import DataError, UsageError
from fusionkit.fuse.model import Fused, FusionNote, Model, load
from fusionkit.io.images import Image, read_image, write_image
from fusionkit.models.weights import WeightsInfo, save_fuser
from fusionkit.plugins import catalogue
from tests.support.toyfusers import TOYS, ToyHungry, ToyLean, ToyMean, ToyOptions, ToyTrained

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
MEAN = Model(ToyMean(), name="mean")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.fusers, "_registered", {})
    monkeypatch.setattr(ToyTrained, "shipped", {})
    for name, kind in TOYS.items():
        catalogue.fusers.register(name, kind)


def save(pixels: np.ndarray, path: Path, **options) -> Path:
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


def one_line(error: BaseException, *words: object) -> None:
    assert "\n" not in str(error)
    for word in words:
        assert str(word) in str(error)


def test_pillow_images_and_every_layout_of_tensors_are_sources() -> None:
    expected = MEAN.fuse(GREY, RGB).array()
    grey, rgb = torch.from_numpy(GREY)[None, None], torch.from_numpy(RGB.transpose(2, 0, 1).copy())[None]
    last = rgb.to(memory_format=torch.channels_last)
    np.testing.assert_array_equal(MEAN.fuse(PIL.Image.fromarray(GREY), PIL.Image.fromarray(RGB)).array(), expected)
    np.testing.assert_array_equal(MEAN.fuse(grey, last).array(), expected)
    rgba = PIL.Image.fromarray(np.dstack([RGB, GREY]), "RGBA")
    np.testing.assert_array_equal(MEAN.fuse(PIL.Image.fromarray(GREY), rgba).array(), expected)
    deep = PIL.Image.fromarray(GREY.astype(np.uint16) * 257)
    assert MEAN.fuse(deep, RGB).bits == 16
    for dtype in (torch.bfloat16, torch.float16):
        rounded = MEAN.fuse((grey / 255).to(dtype), (rgb / 255).to(dtype)).array()
        assert np.abs(rounded.astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (torch.zeros(2, 1, 6, 8), ["batch (2, 1, 6, 8)", "fusionkit.fuse_tensors"]),
        (torch.zeros(6, 8, 3), ["tensor (6, 8, 3)", "permute(2, 0, 1)"]),
        (np.zeros((3, 6, 8), np.uint8), ["array (3, 6, 8)", "transpose(1, 2, 0)"]),
        (np.zeros((2, 6, 8, 3), np.uint8), ["array (2, 6, 8, 3)"]),
        (PIL.Image.new("CMYK", (8, 6)), ["mode CMYK", "convert"]),
        ([GREY, RGB], ["list", "fuse(*sources)"]),
        (b"\x89PNG", ["bytes", "path"]),
        (None, ["NoneType"]),
    ],
)
def test_other_sources_are_refused_in_the_callers_terms(source: object, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        MEAN.fuse(GREY, source)  # type: ignore[arg-type]
    one_line(caught.value, "source 2", *words)


def test_options_of_a_method_without_weights(tmp_path: Path) -> None:
    wide, usual = load("gff", options={"base_radius": 2}, device="cpu"), load("gff", device="cpu")
    assert wide.describe()["config"]["base_radius"] == 2
    assert not np.array_equal(wide.fuse(GREY, RGB).array(), usual.fuse(GREY, RGB).array())
    with pytest.raises(UsageError, match="unknown option 'radius'"):
        load("gff", options={"radius": 2}, device="cpu")
    file = tmp_path / "x.safetensors"
    save_fuser(file, ToyTrained(), WeightsInfo("toy-trained", "mif"))
    with pytest.raises(UsageError, match="options from its training"):
        load(file, options={"start": 0.1}, device="cpu")


def test_files_arrays_images_and_tensors_give_the_same(tmp_path: Path) -> None:
    by_file = MEAN.fuse(save(GREY, tmp_path / "a.png"), str(save(RGB, tmp_path / "b.png")))
    others = [
        MEAN.fuse(GREY, RGB),
        MEAN.fuse(GREY[..., None], Image(RGB)),
        MEAN.fuse(GREY.astype(np.float32) / 255, RGB.astype(np.float64) / 255),
        MEAN.fuse(torch.from_numpy(GREY), torch.from_numpy(RGB.transpose(2, 0, 1).copy())),
        MEAN.fuse(
            torch.from_numpy(GREY)[None, None] / 255, torch.from_numpy(RGB.transpose(2, 0, 1).copy())[None] / 255
        ),
    ]
    assert by_file.array().shape == (6, 8, 3)
    assert by_file.array().dtype == np.uint8
    for other in others:
        np.testing.assert_array_equal(by_file.array(), other.array())


def test_8_bits_are_rounded_to_nearest() -> None:
    a = np.arange(256, dtype=np.uint8)[None]
    b = np.roll(a, 1, axis=1)
    expected = np.rint((a.astype(np.float64) + b) / 2)
    # Halves may fall either way after float32; all else is exact.
    fused = MEAN.fuse(a, b).array().astype(np.float64)
    assert np.abs(fused - (a.astype(np.float64) + b) / 2).max() <= 0.5
    np.testing.assert_array_equal(MEAN.fuse(a, a).array(), a)
    assert fused.shape == expected.shape


def test_16_bit_identity_is_exact() -> None:
    a = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    fused = MEAN.fuse(a, a)
    assert fused.bits == 16
    np.testing.assert_array_equal(fused.array(), a)


@pytest.mark.parametrize(
    ("a", "b", "bits"),
    [
        (GREY, RGB, 8),
        (GREY.astype(np.uint16) * 257, RGB, 16),
        (GREY, RGB.astype(np.uint16) * 257, 16),
        (GREY / 255, RGB, 8),
        (torch.rand(6, 8), torch.rand(3, 6, 8), 8),
    ],
)
def test_the_result_has_the_depth_of_its_deepest_source(a: object, b: object, bits: int) -> None:
    assert MEAN.fuse(a, b).bits == bits
    assert MEAN.fuse(a, b, bits=16).image.bits == 16
    assert MEAN.fuse(a, b, bits=32).array().dtype == np.float32


def test_a_float_file_counts_with_32_bits(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (GREY / 255).astype(np.float32))
    fused = MEAN.fuse(tmp_path / "a.tif", GREY)
    assert fused.bits == 32
    fused.save(tmp_path / "out.tif")
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), GREY / 255, atol=1e-7)


def test_the_result_is_grey_only_where_all_sources_are() -> None:
    grey_as_rgb = np.dstack([GREY] * 3)
    assert MEAN.fuse(GREY, grey_as_rgb).array().shape == (6, 8)
    assert MEAN.fuse(grey_as_rgb, grey_as_rgb).array().shape == (6, 8)
    assert MEAN.fuse(grey_as_rgb, RGB).array().shape == (6, 8, 3)
    np.testing.assert_array_equal(MEAN.fuse(grey_as_rgb, RGB).array(), MEAN.fuse(GREY, RGB).array())


def test_a_grey_jpeg_of_three_channels_is_grey(tmp_path: Path) -> None:
    a = save(np.dstack([GREY] * 3), tmp_path / "a.jpg", quality=60)
    assert MEAN.fuse(a, GREY).array().shape == (6, 8)


def test_one_pixel_images_are_fused() -> None:
    pixel = np.array([[7]], np.uint8)
    assert Model(ToyLean()).fuse(pixel, pixel).array().tolist() == [[7]]
    assert MEAN.fuse(pixel, np.array([[[9, 9, 9]]], np.uint8)).array().tolist() == [[8]]


def test_stretch_is_the_fusers_own_unless_given() -> None:
    assert Model(ToyLean()).stretch == "full"
    fused = Model(ToyLean()).fuse(GREY // 4 + 60, GREY // 4 + 60).array()
    assert (fused.min(), fused.max()) == (0, 255)
    np.testing.assert_array_equal(Model(ToyLean(), stretch="none").fuse(GREY, GREY).array(), GREY)
    with pytest.raises(UsageError, match="'none'"):
        Model(ToyLean(), stretch="non")  # type: ignore[arg-type]


def test_many_sources_are_fused() -> None:
    sources = [RNG.integers(0, 256, (6, 8), dtype=np.uint8) for _ in range(4)]
    y = np.array(sources, np.float64)
    folded = 0.25 * (0.25 * (0.25 * y[0] + 0.75 * y[1]) + 0.75 * y[2]) + 0.75 * y[3]
    fused = Model(ToyLean(), stretch="none").fuse(*sources).array(bits=32)
    np.testing.assert_allclose(fused * 255, folded, atol=1e-4)


@pytest.mark.parametrize("name", ["out.png", "out.tif", "out.bmp", "deep/er/out.jpg"])
def test_save_writes_what_array_says(name: str, tmp_path: Path) -> None:
    fused = MEAN.fuse(GREY, RGB)
    assert fused.save(tmp_path / name) == tmp_path / name
    read = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert np.abs(read.astype(int) - fused.array()).max() <= (6 if name.endswith("jpg") else 0)


def test_saving_fewer_bits_than_the_sources_have_is_noted_unless_asked_for(tmp_path: Path) -> None:
    fused = MEAN.fuse(GREY.astype(np.uint16) * 257, GREY)
    with pytest.warns(FusionNote, match="16 bits give a result of 8 bits"):
        fused.save(tmp_path / "a.jpg")
    fused.save(tmp_path / "b.jpg", bits=8)
    assert read_image(tmp_path / "b.jpg").bits == 8
    with pytest.raises(DataError, match="at most 8 bits"):
        fused.save(tmp_path / "c.jpg", bits=16)
    assert not (tmp_path / "c.jpg").exists()


def test_metadata_is_of_the_source_with_colour(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    for name, pixels in (("grey", GREY), ("colour", RGB)):
        exif[271] = name
        profile = b"\0" * 16 + (b"RGB " if pixels.ndim == 3 else b"GRAY") + name.encode() * 30
        save(pixels, tmp_path / f"{name}.png", exif=exif, icc_profile=profile)
    out = MEAN.fuse(tmp_path / "grey.png", tmp_path / "colour.png").save(tmp_path / "out.png")
    with PIL.Image.open(out) as picture:
        assert picture.getexif()[271] == "colour"
        assert b"colour" in picture.info["icc_profile"]
    out = MEAN.fuse(tmp_path / "grey.png", GREY).save(tmp_path / "out.png")
    with PIL.Image.open(out) as picture:
        assert picture.getexif()[271] == "grey"
        assert b"grey" in picture.info["icc_profile"]


def with_orientation(path: Path, pixels: np.ndarray, orientation: int) -> Path:
    write_image(path, Image(pixels, orientation=orientation))
    return path


def test_an_orientation_that_all_share_is_kept_and_pixels_are_as_stored(tmp_path: Path) -> None:
    a = with_orientation(tmp_path / "a.png", RGB, 6)
    b = with_orientation(tmp_path / "b.png", RGB, 6)
    out = MEAN.fuse(a, b).save(tmp_path / "out.png")
    assert read_image(out).orientation == 6
    np.testing.assert_array_equal(read_image(out).pixels, RGB)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_where_orientations_differ_the_sources_are_turned_upright(orientation: int, tmp_path: Path) -> None:
    a = with_orientation(tmp_path / "a.tif", RGB, orientation)
    with PIL.Image.open(a) as picture:
        upright = np.asarray(PIL.ImageOps.exif_transpose(picture))
    with pytest.warns(FusionNote, match=rf"a\.tif: {orientation}.*turned upright"):
        fused = MEAN.fuse(a, Image(upright.copy()))
    assert fused.orientation == 1
    np.testing.assert_array_equal(fused.array(), upright)


def test_sizes_that_differ_are_named_with_their_files(tmp_path: Path) -> None:
    a, b = save(GREY, tmp_path / "a.png"), save(RGB[:-1], tmp_path / "b.png")
    with pytest.raises(DataError) as caught:
        MEAN.fuse(a, b)
    one_line(caught.value, a, b, "8x6", "8x5")
    with pytest.raises(DataError, match="source 1 8x6, source 2 8x5"):
        MEAN.fuse(GREY, GREY[:-1])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((6, 8, 4), np.uint8), "source 2: pixels"),
        (np.zeros((6, 8), np.complex64), "source 2: pixels of uint8"),
        (np.zeros((6, 8), np.int64), "source 2: values from 0 to 0"),
        (np.full((6, 8), 200.0), "source 2: values from 200 to 200 are no range"),
        (np.full((6, 8), np.nan), r"source 2: not finite \(NaN or infinite\): 48 values"),
    ],
)
def test_arrays_that_are_no_images_are_named_by_their_place(source: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        MEAN.fuse(GREY, source)


def test_misuse_is_refused() -> None:
    with pytest.raises(UsageError, match="two or more"):
        MEAN.fuse(GREY)
    with pytest.raises(UsageError, match="bits"):
        MEAN.fuse(GREY, GREY, bits=12)
    with pytest.raises(UsageError, match="source 2: is a list"):
        MEAN.fuse(GREY, [[1, 2]])


def test_weights_that_give_nan_are_named() -> None:
    broken = Model(ToyTrained(), name="runs/broken")
    torch.nn.init.constant_(broken.fuser.share, float("nan"))
    with pytest.raises(DataError, match="runs/broken: the fused values are not finite"):
        broken.fuse(GREY, GREY)


def test_too_little_memory_is_one_line() -> None:
    with pytest.raises(DataError, match="8x6 images do not fit into the memory of cpu") as caught:
        Model(ToyHungry()).fuse(GREY, GREY)
    one_line(caught.value)


def test_a_result_can_be_made_from_a_tensor(tmp_path: Path) -> None:
    fused = Fused(torch.rand(1, 3, 4, 5), bits=16)
    assert fused.image.bits == 16
    np.testing.assert_array_equal(read_image(fused.save(tmp_path / "x.png")).pixels, fused.array())


def trained_file(path: Path, task: str = "mif", start: float = 0.75) -> Path:
    save_fuser(path, ToyTrained(ToyOptions(start=start)), WeightsInfo(fuser="toy-trained", task=task))
    return path


def test_a_fuser_without_weights_is_loaded_by_name() -> None:
    model = load("toy-mean", "mfif", device="cpu")
    assert (model.name, model.task, model.stretch, model.digest) == ("toy-mean", "mfif", "none", "")
    np.testing.assert_array_equal(model.fuse(GREY, GREY).array(), GREY)


def test_a_weights_file_and_a_run_folder_are_loaded(tmp_path: Path) -> None:
    trained_file(tmp_path / "run/model.safetensors")
    for place in (tmp_path / "run", str(tmp_path / "run"), tmp_path / "run/model.safetensors"):
        model = load(place, device="cpu", stretch="full")
        assert (model.task, model.stretch, len(model.digest)) == ("mif", "full", 64)
        assert model.fuser.share.item() == 0.75
        assert not model.fuser.training
    assert load(tmp_path / "run", "mif").task == "mif"


def test_a_relative_weights_file_needs_no_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained_file(tmp_path / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    assert load("mine.safetensors").task == "mif"


def test_a_fusers_name_comes_before_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained_file(tmp_path / "toy-mean/model.safetensors")
    monkeypatch.chdir(tmp_path)
    assert type(load("toy-mean").fuser) is ToyMean
    assert type(load("./toy-mean").fuser) is ToyTrained
    assert type(load(Path("toy-mean")).fuser) is ToyTrained


def test_shipped_weights_are_chosen_by_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {t: trained_file(tmp_path / f"{t}.safetensors", t, s) for t, s in (("mif", 0.1), ("ivif", 0.2))}
    monkeypatch.setattr(ToyTrained, "shipped", files)
    assert load("toy-trained", "mif").fuser.share.item() == pytest.approx(0.1)
    model = load("toy-trained", "ivif")
    assert model.fuser.share.item() == pytest.approx(0.2)
    assert (model.name, model.task) == ("toy-trained", "ivif")
    with pytest.raises(UsageError, match=r"several tasks.*ivif, mif"):
        load("toy-trained")
    with pytest.raises(UsageError, match=r"no trained weights for task mfif.*ivif, mif.*train toy-trained --task mfif"):
        load("toy-trained", "mfif")
    monkeypatch.setattr(ToyTrained, "shipped", {"mif": files["mif"]})
    assert load("toy-trained").task == "mif"


def test_an_untrained_fuser_says_how_to_train_it() -> None:
    with pytest.raises(UsageError, match="fusionkit train toy-trained --task TASK"):
        load("toy-trained")
    with pytest.raises(UsageError, match="fusionkit train toy-trained --task mif"):
        load("toy-trained", "mif")


@pytest.mark.parametrize(
    ("model", "task", "error", "words"),
    [
        ("toy-meen", None, UsageError, "did you mean 'toy-mean'"),
        ("none.safetensors", None, DataError, "none.safetensors: no such file"),
        ("runs/none", None, DataError, "runs/none: no such file"),
        ("toy-mean", "miff", UsageError, "did you mean 'mif'"),
        ("toy-trained", "meif", UsageError, "toy-trained is not made for task 'meif'"),
        ("empty", None, DataError, "holds no model.safetensors"),
        ("text.safetensors", None, DataError, "not a readable safetensors"),
        ("mif.safetensors", "ivif", UsageError, "was trained for task mif, not ivif"),
    ],
)
def test_models_that_cannot_be_loaded_say_why(
    model: str, task: str | None, error: type, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.safetensors").write_text("hello")
    trained_file(tmp_path / "mif.safetensors")
    with pytest.raises(error, match=words) as caught:
        load(model, task, device="cpu")
    one_line(caught.value)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'cpu'"):
        load("toy-mean", device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA device"):
            load("toy-mean", device="cuda")


def test_the_record_of_a_model_says_what_decides_its_results(tmp_path: Path) -> None:
    described = load(trained_file(tmp_path / "m.safetensors"), device="cpu").describe()
    assert described["fuser"] == "tests.support.toyfusers:ToyTrained"
    assert (described["task"], described["stretch"], described["device"]) == ("mif", "none", "cpu")
    assert len(described["weights_sha256"]) == 64
    assert set(described["versions"]) == {"image-fusionkit", "torch", "numpy"}


def test_arrays_of_temperatures_are_fused_like_their_grey_picture() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (30, 40)).astype(np.float32)
    model = Model(ToyMean())
    with pytest.warns(FusionNote, match="source 1: its values fill a small part of their range"):
        found = model.fuse(grey / 10 + 5, grey / 255)
    np.testing.assert_allclose(found.tensor.numpy()[0, 0] * 255, grey, atol=2)
    known = model.fuse(grey / 10 + 5, grey / 255, ranges=["5,30.5", "full"])
    np.testing.assert_allclose(known.tensor.numpy()[0, 0], grey / 255, atol=1e-6)
    with pytest.raises(UsageError, match="one per source is needed, got 1 for 2"):
        model.fuse(grey, grey, ranges=["minmax"])


def test_transparency_that_is_dropped_is_said(tmp_path: Path) -> None:
    clear = np.dstack([RGB, np.full(RGB.shape[:2], 9, np.uint8)])
    save(clear, tmp_path / "clear.png")
    save(np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]), tmp_path / "opaque.png")
    with pytest.warns(FusionNote, match=r"clear\.png: its transparency is dropped") as caught:
        fused = MEAN.fuse(tmp_path / "clear.png", tmp_path / "opaque.png")
    assert len(caught) == 1
    np.testing.assert_array_equal(fused.array(), RGB)
