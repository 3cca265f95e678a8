"""Losses of the shipped learned methods: the Sobel operator, weighted fusion and its minimiser, reconstruction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

GradientForm = Literal["signed", "magnitude"]
Combine = Literal["max", "sum"]
Brightness = Literal["off", "absolute", "relative"]


def sobel(image: Tensor) -> Tensor:
    """Signed Sobel responses with the plain kernels: unnormalised, zero padding.

    Args:
        image: ``(B, C, H, W)``.

    Returns:
        ``(B, 2 C, H, W)``: for each channel its response in x, then in y; within [-4, 4] for an image in [0, 1].
    """
    channels = image.shape[1]
    # Made on the device: nothing of the host's could be copied there while a step is being recorded.
    ramp = torch.arange(-1, 2, dtype=image.dtype, device=image.device)
    kernel = (2 - ramp.abs())[:, None] * ramp
    kernels = torch.stack((kernel, kernel.T))[:, None].repeat(channels, 1, 1, 1)
    return F.conv2d(image, kernels, padding=1, groups=channels)


def image_gradient(image: Tensor, form: GradientForm) -> Tensor:
    """The gradient that a loss compares.

    Args:
        image: ``(B, 1, H, W)``.
        form: ``"signed"`` compares the x and y responses separately; ``"magnitude"`` compares ``|Gx| + |Gy|``.

    Returns:
        ``(B, 2, H, W)`` for ``"signed"``, ``(B, 1, H, W)`` for ``"magnitude"``.
    """
    response = sobel(image)
    return response if form == "signed" else response.abs().sum(1, keepdim=True)


def weighted_fusion_loss(
    fused: Tensor,
    sources: Sequence[Tensor],
    intensity_weights: Tensor,
    gradient_weights: Tensor,
    *,
    alpha: float = 1.0,
    form: GradientForm = "signed",
) -> dict[str, Tensor]:
    r"""The fusion loss of ReFusion.

    .. math:: L_f = \mathrm{mean}\sum_k w_k (I_k - I_f)^2 + \alpha\,\mathrm{mean}\sum_k v_k (\nabla I_k - \nabla I_f)^2

    The mean is over pixels and batch; the two signed Sobel responses of a pixel are summed.

    Args:
        fused: ``(B, 1, H, W)`` in [0, 1].
        sources: S tensors of the same shape.
        intensity_weights: w, ``(B, S, H, W)``, summing to 1 over S.
        gradient_weights: v, the same.
        alpha: weight of the gradient term (alpha_1).
        form: see :func:`image_gradient`.

    Returns:
        ``total``, ``intensity``, ``gradient``: scalars.

    Reference:
        Bai et al., ReFusion, IJCV 2025, eq. (1)-(3). What the gradient is there is not published; TDFusion's code
        uses the signed responses.
    """
    stacked = torch.cat(tuple(sources), 1)
    intensity = (intensity_weights * (stacked - fused).square()).sum(1).mean()
    target = image_gradient(fused, form)
    gradient = fused.new_zeros(())
    for k, source in enumerate(sources):
        error = (image_gradient(source, form) - target).square()
        gradient = gradient + (gradient_weights[:, k : k + 1] * error).sum(1).mean()
    return {"total": intensity + alpha * gradient, "intensity": intensity, "gradient": gradient}


def weighted_fusion_minimiser(
    sources: Sequence[Tensor], intensity_weights: Tensor, gradient_weights: Tensor, *, alpha: float = 1.0
) -> Tensor:
    r"""The image that :func:`weighted_fusion_loss` asks for: its minimiser over all images, in closed form.

    With the signed responses the loss is quadratic in the fused image, and because both sets of weights sum to 1 its
    second derivative is the same at every pixel, so that a Fourier transform inverts it:

    .. math:: I^* = (1 + \alpha \nabla^\top \nabla)^{-1}
              \Big(\sum_k w_k I_k + \alpha \nabla^\top \sum_k v_k \nabla I_k\Big)

    A screened Poisson equation: fine detail follows the mixed gradients, wide areas the mixed intensities.

    Args:
        sources: S tensors ``(B, 1, H, W)``.
        intensity_weights: w, ``(B, S, H, W)``, summing to 1 over S.
        gradient_weights: v, the same.
        alpha: weight of the gradient term.

    Returns:
        ``(B, 1, H, W)``, differentiable in everything, in float32 at least; it may leave [0, 1]. At the border images
        go on as their mirror images, where the loss has zeros: that tells within a few pixels.

    Reference:
        Bhat et al., Fourier analysis of the 2D screened Poisson equation for gradient domain problems, ECCV 2008.
    """
    exact = torch.promote_types(sources[0].dtype, torch.float32)
    stacked, w, v = (x.to(exact) for x in (torch.cat(tuple(sources), 1), intensity_weights, gradient_weights))
    with torch.autocast(stacked.device.type, enabled=False):
        return _screened_poisson(stacked, w, v, alpha)


def reconstruction_loss(
    rebuilt: Sequence[Tensor],
    sources: Sequence[Tensor],
    *,
    alpha: float = 1.0,
    combine: Combine = "max",
    form: GradientForm = "signed",
    weights: Sequence[Tensor] | None = None,
) -> dict[str, Tensor]:
    r"""Error of the sources rebuilt from the fused image, by the worst source at each pixel.

    .. math:: L_r = \mathrm{mean}\max_k g_k (I_k - \hat I_k)^2
              + \alpha\,\mathrm{mean}\max_k (\nabla I_k - \nabla \hat I_k)^2

    Args:
        rebuilt: the reconstructions, S tensors ``(B, 1, H, W)``.
        sources: the sources, the same.
        alpha: weight of the gradient term (alpha_2).
        combine: ``"max"`` over the sources, or ``"sum"`` (ablation IV).
        form: see :func:`image_gradient`; the maximum is taken for each Sobel direction by itself.
        weights: g, what an error of intensity counts at each pixel, S tensors ``(B, 1, H, W)``, for example
            :func:`brightness_weights`; None is 1 everywhere, as in the paper.

    Returns:
        ``total``, ``intensity``, ``gradient``: scalars.

    Reference:
        Bai et al., ReFusion, IJCV 2025, eq. (4)-(6); the weights are not in it.
    """
    difference = torch.stack([r - s for r, s in zip(rebuilt, sources, strict=True)])
    # The Sobel operator is linear: for the signed form one pass over the difference is enough.
    if form == "signed":
        slope = torch.stack([sobel(d) for d in difference])
    else:
        slope = torch.stack(
            [image_gradient(r, form) - image_gradient(s, form) for r, s in zip(rebuilt, sources, strict=True)]
        )
    errors = difference.square()
    if weights is not None:
        errors = torch.stack(tuple(weights)) * errors
    intensity = _over_sources(errors, combine).sum(1).mean()
    gradient = _over_sources(slope.square(), combine).sum(1).mean()
    return {"total": intensity + alpha * gradient, "intensity": intensity, "gradient": gradient}


def brightness_weights(source: Tensor, form: Brightness, floor: float, power: float = 1.0) -> Tensor:
    r"""Weights of intensity errors at each pixel of a source, by its brightness there.

    .. math:: g_{absolute} = \Big(\frac{I + \epsilon}{1/2 + \epsilon}\Big)^p, \qquad
              g_{relative} = \Big(\frac{I / (\bar I + 1/50) + \epsilon}{1 + \epsilon}\Big)^p

    A plain squared error asks for half of each source: half of both is closer to the worse of the two than all of
    one. What weighs more is kept at the expense of what weighs less. The absolute form is 1 at middle grey; the
    relative one, with the source's mean in its crop, does not change when an exposure is made longer or shorter.

    Args:
        source: ``(B, 1, H, W)`` in [0, 1].
        form: ``"off"`` is 1 everywhere.
        floor: epsilon, above 0: what black counts.
        power: p, above 0: by how much more bright errors count.

    Returns:
        ``(B, 1, H, W)``, not negative.
    """
    if form == "off":
        return torch.ones_like(source)
    if form == "absolute":
        weight = (source + floor) / (0.5 + floor)
    else:
        weight = (source / (source.mean((1, 2, 3), keepdim=True) + 0.02) + floor) / (1 + floor)
    return weight if power == 1 else weight**power


def _over_sources(errors: Tensor, combine: Combine) -> Tensor:
    return errors.amax(0) if combine == "max" else errors.sum(0)


def _screened_poisson(images: Tensor, w: Tensor, v: Tensor, alpha: float) -> Tensor:
    height, width = images.shape[-2:]
    # Of every source the responses in x, then in y; the mirror images beyond the border are a replicated edge.
    slopes = sobel(F.pad(images, (1,) * 4, mode="replicate"))[..., 1:-1, 1:-1].unflatten(1, (-1, 2))
    mixed = F.pad((v.unsqueeze(2) * slopes).sum(1), (1,) * 4, mode="replicate")
    # A mirror turns the response across it round. The kernels are odd, so their transpose is their negative.
    turned = torch.cat((mixed[:, :1] * _ends(width, mixed), mixed[:, 1:] * _ends(height, mixed)[:, None]), 1)
    back = -sobel(turned)[..., 1:-1, 1:-1][:, 0::3].sum(1, keepdim=True)
    asked = (w * images).sum(1, keepdim=True) + alpha * back

    whole = torch.cat((asked, asked.flip(-1)), -1)
    whole = torch.cat((whole, whole.flip(-2)), -2)
    fx = 2 * math.pi * torch.fft.rfftfreq(2 * width, dtype=asked.dtype, device=asked.device)
    fy = 2 * math.pi * torch.fft.fftfreq(2 * height, dtype=asked.dtype, device=asked.device)[:, None]
    power = (2 * fx.sin() * (2 + 2 * fy.cos())).square() + (2 * fy.sin() * (2 + 2 * fx.cos())).square()
    solved = torch.fft.irfft2(torch.fft.rfft2(whole) / (1 + alpha * power), s=whole.shape[-2:])
    return solved[..., :height, :width]


def _ends(length: int, like: Tensor) -> Tensor:
    """1 along a padded side, -1 at its two ends."""
    return F.pad(like.new_ones(length), (1, 1), value=-1.0)
