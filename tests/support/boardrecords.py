"""Small records, and the folder of a small bench with real images, for the tests of the board."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from fusionkit.bench.image_scores import present_use
from fusionkit.bench.paths import fused_folder, map_file, maps_folder
from fusionkit.bench.record_files import write_record
from fusionkit.bench.records import Cost, DataNote, ImageResult, Method, MetricUse, Record

IVIF_METRICS = ("EN", "SD", "SF", "AG", "SCD", "SSIM")
EVIL = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>'


def digest(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def record(
    name: str,
    values: Mapping[str, Sequence[float | None]],
    *,
    dataset: str = "MSRS",
    split: str = "test",
    profile: str = "refusion",
    task: str = "ivif",
    lower: Sequence[str] = (),
    stretch: str = "none",
    fingerprint: str = "pairs",
    failures: Mapping[str, str] | None = None,
    images: Sequence[str] | None = None,
    sources: str = "same",
    version: str = "image-fusionkit 0.1.0",
    seconds: float | None = 0.01,
    device: str = "cpu (x)",
    trained_on: tuple[str, ...] | None = ("elsewhere",),
) -> Record:
    """A record with these values, image by image, of each metric."""
    count = len(next(iter(values.values())))
    names = list(images or [f"{k:03d}" for k in range(count)])
    results = tuple(
        ImageResult(
            name=names[k],
            sources=(f"../data/{names[k]}_a.png", f"../data/{names[k]}_b.png"),
            sources_sha256=(digest(f"{sources}{names[k]}a"), digest(f"{sources}{names[k]}b")),
            fused=f"fused/{names[k]}.png",
            fused_sha256=digest(f"{name}{names[k]}"),
            height=4,
            width=4,
            scores={metric: column[k] for metric, column in values.items()},
            reasons={metric: "0/0" for metric, column in values.items() if column[k] is None},
            cost=None if seconds is None else Cost(device=device, seconds=seconds, peak_bytes=2048),
        )
        for k in range(count)
    )
    return Record(
        task=task,
        dataset=dataset,
        split=split,
        profile=profile,
        method=Method(
            name=name,
            kind="fuser",
            origin=name,
            parameters=59856,
            stretch=stretch,  # type: ignore[arg-type]
            trained_on=trained_on,
        ),
        data=DataNote(origin="here", fingerprint=digest(fingerprint), pairs=count + len(failures or {})),
        metrics={
            m: MetricUse(version=version, higher_is_better=m not in lower, unit=_unit(m, profile)) for m in values
        },
        images=results,
        failures=dict(failures or {}),
    )


def _unit(metric: str, profile: str) -> str:
    use = present_use(metric, profile)
    return use.unit if use else "1"


def bench_folder(out: Path, *, methods: Sequence[str] = ("alpha", "beta", EVIL), images: int = 4) -> Path:
    """A bench of one data set with images on disk: random sources, their mixtures, and a weight map of ``alpha``."""
    generator = np.random.default_rng(0)
    data = out.parent / "the data"
    data.mkdir(parents=True, exist_ok=True)
    names = [f"pair #{k} ä" for k in range(images)]
    pixels = {name: generator.integers(0, 255, (2, 36, 48, 3), dtype=np.uint8) for name in names}
    for name, (a, b) in pixels.items():
        _save(data / f"{name} a.png", a[..., 0])
        _save(data / f"{name} b.png", b)
    for place, method in enumerate(methods):
        folder = fused_folder(out, "ivif", "MSRS-test", method)
        results = []
        for k, name in enumerate(names):
            a, b = (image.astype(float) for image in pixels[name])
            weight = (place + 1) / (len(methods) + 1)
            fused = _save(folder / f"{name}.png", (weight * a + (1 - weight) * b).astype(np.uint8))
            files = [data / f"{name} {side}.png" for side in "ab"]
            scores: dict[str, float | None] = dict.fromkeys(IVIF_METRICS, 1.0 + place + 0.1 * k)
            if k == 1 and place == 0:
                scores["SCD"] = None
            results.append(
                ImageResult(
                    name=name,
                    sources=tuple(f"../the data/{file.name}" for file in files),
                    sources_sha256=tuple(digest(file.read_bytes()) for file in files),
                    fused=fused.relative_to(out).as_posix(),
                    fused_sha256=digest(fused.read_bytes()),
                    height=36,
                    width=48,
                    scores=scores,
                    reasons={m: EVIL for m, value in scores.items() if value is None},
                    cost=Cost(device="cpu (x)", seconds=0.001 * 3**place),
                    maps=("w_a",) if (place, k) == (0, 0) else None,
                )
            )
        made = record(method, {m: [0.0] * images for m in IVIF_METRICS})
        write_record(out, made.model_copy(update={"images": tuple(results)}))
    drawn = map_file(maps_folder(out, "ivif", "MSRS-test", methods[0]), names[0], "w_a")
    _save(drawn, np.full((36, 48), 128, np.uint8))
    return out


def _save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path
