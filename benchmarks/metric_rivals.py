"""Metrics of other packages, for :mod:`metrics` to time against ours.

``numpy/scipy`` is the formula as published evaluators write it, in whole-array numpy and scipy: that is what CDDFuse's
and its successors' code does, which no package index has. The others are packages; one that is not installed is named
with the reason. All take the fused image and both sources as arrays and give what ``standard`` defines.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[np.floating]
Function = Callable[[Image, Image, Image], float]


@dataclass(frozen=True)
class Rival:
    """Another package's code for a metric; ``package`` is the module that must be importable."""

    metric: str
    package: str
    function: Function
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or {"skimage": "scikit-image", "sklearn": "scikit-learn"}.get(self.package, self.package)


def missing(package: str) -> str | None:
    """Reason that a package cannot be used, or None if it can."""
    if package == "numpy":
        return None
    from fusionkit.errors import UsageError
    from fusionkit.runtime.torchvision import load_torchvision

    if package == "piq":
        try:
            load_torchvision()
        except UsageError as error:
            return str(error)
    try:
        importlib.import_module(package)
    except ImportError as error:
        return f"{package} cannot be imported: {error}"
    return None


def entropy(f: Image, a: Image, b: Image) -> float:
    p = np.bincount(np.uint8(np.round(f)).ravel()) / f.size
    return float(-np.sum(p * np.log2(p + (p == 0))))


def spatial_frequency(f: Image, a: Image, b: Image) -> float:
    return float(np.sqrt(np.mean((f[:, 1:] - f[:, :-1]) ** 2) + np.mean((f[1:] - f[:-1]) ** 2)))


def average_gradient(f: Image, a: Image, b: Image) -> float:
    gy, gx = np.gradient(f)
    return float(np.mean(np.sqrt((gx**2 + gy**2) / 2)))


def correlation(x: Image, y: Image) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))


def joint_histogram(x: Image, y: Image) -> NDArray[np.float64]:
    joint, _, _ = np.histogram2d(x.ravel(), y.ravel(), bins=np.arange(257) - 0.5)
    return np.asarray(joint / joint.sum())


def information(x: Image, y: Image) -> float:
    joint = joint_histogram(x, y)
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log2(joint[seen] / product[seen])).sum())


def nonlinear_correlation(f: Image, a: Image, b: Image) -> float:
    ab, af, bf = (information(x, y) / 8 for x, y in ((a, b), (a, f), (b, f)))
    share = np.linalg.eigvalsh([[1, ab, af], [ab, 1, bf], [af, bf, 1]]) / 3
    return float(1 + (share * np.log2(share)).sum() / 8)


def qabf(f: Image, a: Image, b: Image) -> float:
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], f.dtype)
    up = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], f.dtype)

    def edges(x: Image) -> tuple[Image, Image]:
        sx, sy = (scipy.signal.convolve2d(x, kernel, mode="same") for kernel in (across, up))
        angle = np.full(x.shape, np.pi / 2, f.dtype)
        angle[sx != 0] = np.arctan(sy[sx != 0] / sx[sx != 0])
        return np.sqrt(sx**2 + sy**2), angle

    gf, af = edges(f)
    above, below = 0.0, 0.0
    for s in (a, b):
        g, angle = edges(s)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(g > gf, gf / g, np.where(g == gf, gf, g / gf))
        turned = 1 - np.abs(angle - af) / (np.pi / 2)
        quality = 0.9994 / (1 + np.exp(-15 * (relative - 0.5))) * 0.9879 / (1 + np.exp(-22 * (turned - 0.8)))
        above += float((quality * g).sum())
        below += float(g.sum())
    return above / below


def vifp(f: Image, a: Image, b: Image) -> float:
    def of(s: Image, f: Image) -> float:
        above, below = 0.0, 0.0
        for size in (17, 9, 5, 3):
            y, x = np.mgrid[:size, :size] - (size - 1) / 2
            window = np.exp(-(x * x + y * y) / (2 * (size / 5) ** 2))
            window /= window.sum()

            def mean(image: Image, window: Image = window) -> Image:
                return np.asarray(scipy.signal.convolve2d(image, window, mode="valid"))

            if size < 17:
                s, f = mean(s)[::2, ::2], mean(f)[::2, ::2]
            ms, mf = mean(s), mean(f)
            vs, vf = np.maximum(mean(s * s) - ms * ms, 0), np.maximum(mean(f * f) - mf * mf, 0)
            cov = mean(s * f) - ms * mf
            g = cov / (vs + 1e-10)
            v = vf - g * cov
            g[vs < 1e-10], v[vs < 1e-10] = 0, vf[vs < 1e-10]
            vs[vs < 1e-10] = 0
            g[vf < 1e-10], v[vf < 1e-10] = 0, 0
            v[g < 0] = vf[g < 0]
            g[g < 0] = 0
            v[v <= 1e-10] = 1e-10
            above += float(np.log10(1 + g * g * vs / (v + 2)).sum())
            below += float(np.log10(1 + vs / 2).sum())
        return above / below

    return (of(a, f) + of(b, f)) / 2


def chen_blum(f: Image, a: Image, b: Image) -> float:
    height, width = f.shape
    v = (np.arange(height) - height // 2) * 2 / height * height / 30
    u = (np.arange(width) - width // 2) * 2 / width * width / 30
    r = np.hypot(v[:, None], u[None, :])
    response = np.fft.ifftshift(np.exp(-((r / 15.3870) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2)))

    def contrast(x: Image) -> Image:
        x = np.floor((x - x.min()) / (x.max() - x.min()) * 255 + 0.5)
        x = np.real(np.fft.ifft2(np.fft.fft2(x) * response))
        fine, coarse = x, x
        k = np.arange(-15, 16)
        for axis in (0, 1):
            fine = scipy.ndimage.convolve1d(fine, np.exp(-(k**2) / 8) / np.sqrt(8 * np.pi), axis, mode="constant")
            coarse = scipy.ndimage.convolve1d(coarse, np.exp(-(k**2) / 32) / np.sqrt(32 * np.pi), axis, mode="constant")
        c = np.abs(fine / coarse - 1)
        return np.asarray(c**3 / (c**2 + 1e-4))

    cf, ca, cb = contrast(f), contrast(a), contrast(b)
    qa, qb = (np.minimum(c, cf) / np.maximum(c, cf) for c in (ca, cb))
    return float(np.mean((ca**2 * qa + cb**2 * qb) / (ca**2 + cb**2)))


def mean_of_two(similarity: Callable[[Image, Image], float]) -> Function:
    return lambda f, a, b: (similarity(f, a) + similarity(f, b)) / 2


def of_tensors(similarity: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """Average a function of ``(1, 1, H, W)`` tensors over both sources."""

    def on_arrays(x: Image, y: Image) -> float:
        return float(similarity(torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None]))

    return mean_of_two(on_arrays)


def skimage_entropy(f: Image, a: Image, b: Image) -> float:
    from skimage.measure import shannon_entropy

    return float(shannon_entropy(f))


def skimage_ssim(x: Image, y: Image) -> float:
    from skimage.metrics import structural_similarity as ssim

    return float(ssim(x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255))


def skimage_psnr(f: Image, a: Image, b: Image) -> float:
    from skimage.metrics import mean_squared_error

    return float(10 * np.log10(255**2 / np.mean([mean_squared_error(s, f) for s in (a, b)])))


def sewar_ssim(x: Image, y: Image) -> float:
    from sewar.full_ref import ssim
    from sewar.utils import Filter

    return float(ssim(x, y, MAX=255, fltr_specs={"fltr": Filter.GAUSSIAN, "ws": 11, "sigma": 1.5})[0])


def sewar_vifp(f: Image, s: Image) -> float:
    from sewar.full_ref import vifp

    return float(vifp(s, f))


def sklearn_mi(f: Image, a: Image, b: Image) -> float:
    from sklearn.metrics import mutual_info_score

    return float(sum(mutual_info_score(f.ravel(), s.ravel()) for s in (a, b)) / np.log(2))


def sklearn_nmi(f: Image, a: Image, b: Image) -> float:
    from sklearn.metrics import normalized_mutual_info_score

    return float(sum(normalized_mutual_info_score(f.ravel(), s.ravel()) for s in (a, b)))


def piq_ssim(x: Tensor, y: Tensor) -> Tensor:
    import piq

    return torch.as_tensor(piq.ssim(x, y, data_range=255.0, downsample=False))


def piq_vif(x: Tensor, y: Tensor) -> Tensor:
    import piq

    return torch.as_tensor(piq.vif_p(x, y, data_range=255.0))


def piq_ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    import piq

    return torch.as_tensor(piq.multi_scale_ssim(x, y, data_range=255.0))


def torchmetrics_ssim(x: Tensor, y: Tensor) -> Tensor:
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    return torch.as_tensor(ssim(x, y, data_range=255.0))


def torchmetrics_vif(x: Tensor, y: Tensor) -> Tensor:
    from torchmetrics.functional.image import visual_information_fidelity

    return torch.as_tensor(visual_information_fidelity(x, y))


def torchmetrics_ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim

    return torch.as_tensor(ms_ssim(x, y, data_range=255.0, normalize="relu"))


def msssim_ssim(x: Tensor, y: Tensor) -> Tensor:
    from pytorch_msssim import ssim

    return torch.as_tensor(ssim(x, y, data_range=255))


def msssim_ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    from pytorch_msssim import ms_ssim

    return torch.as_tensor(ms_ssim(x, y, data_range=255))


def formula(metric: str, function: Function) -> Rival:
    return Rival(metric, "numpy", function, "numpy/scipy")


RIVALS: tuple[Rival, ...] = (
    formula("EN", entropy),
    Rival("EN", "skimage", skimage_entropy),
    formula("SD", lambda f, a, b: float(np.std(f))),
    formula("SF", spatial_frequency),
    formula("AG", average_gradient),
    formula("SCD", lambda f, a, b: correlation(f - b, a) + correlation(f - a, b)),
    Rival("SSIM", "skimage", mean_of_two(skimage_ssim)),
    Rival("SSIM", "sewar", mean_of_two(sewar_ssim)),
    Rival("SSIM", "piq", of_tensors(piq_ssim)),
    Rival("SSIM", "torchmetrics", of_tensors(torchmetrics_ssim)),
    Rival("SSIM", "pytorch_msssim", of_tensors(msssim_ssim)),
    formula("VIFp", vifp),
    Rival("VIFp", "sewar", mean_of_two(sewar_vifp)),
    Rival("VIFp", "piq", of_tensors(piq_vif)),
    Rival("VIFp", "torchmetrics", of_tensors(torchmetrics_vif)),
    formula("Qabf", qabf),
    formula("MI", lambda f, a, b: information(f, a) + information(f, b)),
    Rival("MI", "sklearn", sklearn_mi),
    formula("QCB", chen_blum),
    formula("QNCIE", nonlinear_correlation),
    formula("CC", lambda f, a, b: (correlation(f, a) + correlation(f, b)) / 2),
    Rival("PSNR", "skimage", skimage_psnr),
    Rival("NMI", "sklearn", sklearn_nmi),
    Rival("MS-SSIM", "piq", of_tensors(piq_ms_ssim)),
    Rival("MS-SSIM", "torchmetrics", of_tensors(torchmetrics_ms_ssim)),
    Rival("MS-SSIM", "pytorch_msssim", of_tensors(msssim_ms_ssim)),
)
