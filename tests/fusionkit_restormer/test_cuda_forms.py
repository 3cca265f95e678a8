"""The forms for CUDA, run on the CPU: values and every kind of derivative of the plain formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fusionkit_restormer import cuda_forms
from fusionkit_restormer.cuda_forms import channel_norm, linear, multiply, sum_over_pixels
from fusionkit_restormer.fuser import FuserOptions, RestormerFuser

Form = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_forms, "preferred", lambda _x: True)
    monkeypatch.setattr(cuda_forms, "_PART", 2)


FORMS: dict[str, tuple[Form, Form, list[tuple[int, ...]]]] = {
    "sum over pixels": (
        sum_over_pixels, lambda a, b: torch.einsum("bpc,bpd->bcd", a, b), [(2, 11, 3), (2, 11, 4)],
    ),
    "linear": (linear, F.linear, [(2, 3, 4, 5), (6, 5)]),
    "multiply": (multiply, lambda x, m: torch.einsum("bhwc,bdc->bhwd", x, m), [(2, 3, 4, 5), (2, 5, 5)]),
    "norm": (
        lambda x, w, b: channel_norm(x, w, b, 1e-5),
        lambda x, w, b: F.layer_norm(x, w.shape, w, b, 1e-5),
        [(2, 3, 4, 5), (5,), (5,)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_values_and_derivatives_are_those_of_the_plain_formula(name: str) -> None:
    form, plain, shapes = FORMS[name]
    inputs = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    torch.testing.assert_close(form(*inputs), plain(*inputs), rtol=1e-12, atol=1e-12)
    assert gradcheck(form, inputs, check_forward_ad=True)
    assert gradgradcheck(form, inputs)


@pytest.mark.parametrize("pixels", [1, 3, 4, 1023, 1024, 4096, 5000])
def test_no_pixel_is_left_out_of_a_sum(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_forms, "_PART", 512)
    left, right = torch.randn(1, pixels, 3, dtype=torch.float64), torch.randn(1, pixels, 2, dtype=torch.float64)
    torch.testing.assert_close(sum_over_pixels(left, right), left.transpose(1, 2) @ right, rtol=1e-10, atol=1e-10)


def test_half_precision_learns_in_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    fuser = RestormerFuser(FuserOptions(dim=8, heads=4, blocks=1))
    pair = [torch.rand(2, 1, 12, 10) for _ in range(2)]
    exact = torch.autograd.grad(fuser(*pair).mean(), tuple(fuser.parameters()))
    for preferred in (True, False):
        monkeypatch.setattr(cuda_forms, "preferred", lambda _x, chosen=preferred: chosen)
        with torch.autocast("cpu", torch.bfloat16):
            found = torch.autograd.grad(fuser(*pair).float().mean(), tuple(fuser.parameters()))
        apart = torch.stack([(one - other).norm() for one, other in zip(found, exact, strict=True)]).norm()
        assert apart < 0.1 * torch.stack([gradient.norm() for gradient in exact]).norm()


def test_the_network_is_the_same_function_with_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    fuser = RestormerFuser(FuserOptions(dim=8, heads=4, blocks=1, inputs="image+gradient+share")).double()
    pair = [torch.rand(2, 1, 9, 10, dtype=torch.float64) for _ in range(2)]
    found = []
    for preferred in (True, False):
        monkeypatch.setattr(cuda_forms, "preferred", lambda _x, chosen=preferred: chosen)
        fused = fuser(*pair)
        found.append((fused, *torch.autograd.grad(fused.sin().sum(), tuple(fuser.parameters()))))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-11)
