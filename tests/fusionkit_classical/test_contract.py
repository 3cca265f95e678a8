"""What holds for every classical fuser: the contract, and the properties that their documentation claims."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fusionkit_classical
from fusionkit.contracts import Fuser
from fusionkit.testing import check_fuser

PLACES = {
    "average": "controls:Average",
    "maximum": "controls:Maximum",
    "copy-a": "controls:CopyA",
    "copy-b": "controls:CopyB",
    "laplacian": "laplacian:Laplacian",
    "rolp": "rolp:Rolp",
    "dwt": "dwt:Dwt",
    "dtcwt": "dtcwt:Dtcwt",
    "gff": "gff:Gff",
    "cbf": "cbf:Cbf",
    "tsvs": "tsvs:Tsvs",
    "pca": "pca:Pca",
    "gtf": "gtf:Gtf",
    "fcdfusion": "fcdfusion:FcdFusion",
    "mertens": "mertens:Mertens",
    "mertens-deghost": "mertens_deghost:MertensDeghost",
    "focus-gf": "focus:FocusGf",
    "focus-select": "focus_select:FocusSelect",
}
PUBLIC = {"fusionkit.contracts", "fusionkit.errors"}
ORDERED = {"copy-a", "copy-b", "gtf", "fcdfusion", "focus-gf", "focus-select"}
"""What claims no symmetry in the sources; ``focus-gf`` only fills the first one's small regions first, and of sources
that tie ``focus-select`` takes the first."""
WITHIN = {"average", "maximum", "copy-a", "copy-b", "cbf", "pca", "focus-select"}
"""Fused pixels lie between the sources' pixels: weights in [0, 1] and nothing else."""


def load(name: str) -> type[Fuser]:
    module, _, attribute = PLACES[name].partition(":")
    found: type[Fuser] = getattr(importlib.import_module(f"fusionkit_classical.{module}"), attribute)
    return found


every = pytest.mark.parametrize("name", sorted(PLACES))
each_but_fcdfusion = pytest.mark.parametrize("name", sorted(PLACES.keys() - {"fcdfusion"}))
"""``fcdfusion`` darkens where the infrared source is dark, by its definition."""


def test_the_entry_points_are_these() -> None:
    installed = {
        e.name: e.value for e in entry_points(group="fusionkit.fusers") if e.value.startswith("fusionkit_classical.")
    }
    assert installed == {name: f"fusionkit_classical.{place}" for name, place in PLACES.items()}


def test_the_plugin_uses_the_public_interface_alone() -> None:
    for file in Path(fusionkit_classical.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            inside = {m for m in modules if m.split(".")[0] == "fusionkit"}
            assert inside <= PUBLIC, f"{file.name} imports {inside - PUBLIC}"


@every
def test_the_fuser_keeps_its_contract(name: str) -> None:
    check_fuser(load(name))


@every
def test_the_fuser_documents_itself(name: str) -> None:
    fuser = load(name)
    assert fuser.reference
    assert "Source: " in (fuser.__doc__ or "") or name in {"average", "maximum", "copy-a", "copy-b"}
    assert not list(fuser().parameters())
    for field in dataclasses.fields(fuser.Config):
        assert f"{field.name}: " in (fuser.Config.__doc__ or ""), f"option {field.name} is not documented"


sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))


def draw(name: str, size: tuple[int, int], seed: int, count: int, *, levels: int = 255) -> list[torch.Tensor]:
    """Sources of one sample, with few grey levels where ``levels`` is small: many ties."""
    fuser = load(name)
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 3 if fuser.space == "rgb" else 1, *size)
    count = min(count, fuser.capabilities.max_sources or count)
    return [torch.randint(0, levels + 1, shape, generator=generator).to(torch.float64) / levels for _ in range(count)]


@each_but_fcdfusion
@settings(max_examples=12)
@given(size=sizes, seed=st.integers(0, 999), count=st.integers(2, 4))
def test_equal_sources_give_that_source(name: str, size: tuple[int, int], seed: int, count: int) -> None:
    source, *_ = draw(name, size, seed, 2)
    count = min(count, load(name).capabilities.max_sources or count)
    assert (load(name)()(*[source] * count) - source).abs().max() < 1e-6


@every
@settings(max_examples=12)
@given(size=sizes, seed=st.integers(0, 999), count=st.integers(2, 4), levels=st.sampled_from([1, 2, 255]))
def test_order_does_not_matter_where_the_method_claims_it(
    name: str, size: tuple[int, int], seed: int, count: int, levels: int
) -> None:
    sources = draw(name, size, seed, count, levels=levels)
    fuser = load(name)()
    gap = (fuser(*sources) - fuser(*sources[::-1])).abs().max()
    assert gap < 1e-6 or name in ORDERED


@pytest.mark.parametrize("name", sorted(ORDERED - {"focus-gf", "focus-select"}))
def test_order_matters_where_no_symmetry_is_claimed(name: str) -> None:
    a, b = draw(name, (24, 24), 0, 2)
    fuser = load(name)()
    assert (fuser(a, b) - fuser(b, a)).abs().max() > 0.1


@every
@settings(max_examples=8)
@given(size=sizes, seed=st.integers(0, 999), levels=st.sampled_from([1, 2, 255]))
def test_a_batch_is_its_samples_one_by_one(name: str, size: tuple[int, int], seed: int, levels: int) -> None:
    singles = [draw(name, size, seed + k, 2, levels=levels) for k in range(3)]
    fuser = load(name)()
    batch = fuser(*(torch.cat(sources) for sources in zip(*singles, strict=True)))
    assert (batch - torch.cat([fuser(*sources) for sources in singles])).abs().max() < 1e-9


@each_but_fcdfusion
@settings(max_examples=10)
@given(size=sizes, values=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_constant_sources_give_a_constant_between_them(
    name: str, size: tuple[int, int], values: tuple[float, float]
) -> None:
    channels = 3 if load(name).space == "rgb" else 1
    sources = [torch.full((1, channels, *size), value, dtype=torch.float64) for value in values]
    fused = load(name)()(*sources)
    assert torch.isfinite(fused).all()
    assert fused.max() - fused.min() < 1e-5
    assert min(values) - 1e-5 <= fused.min() <= fused.max() <= max(values) + 1e-5


@pytest.mark.parametrize("name", sorted(WITHIN))
@settings(max_examples=10)
@given(size=sizes, seed=st.integers(0, 999))
def test_weighted_means_stay_between_the_sources(name: str, size: tuple[int, int], seed: int) -> None:
    a, b = draw(name, size, seed, 2)
    fused = load(name)()(a, b)
    assert (fused >= torch.minimum(a, b) - 1e-12).all()
    assert (fused <= torch.maximum(a, b) + 1e-12).all()


@every
def test_half_precision_sources_give_half_precision(name: str) -> None:
    sources = [s.to(torch.float16) for s in draw(name, (16, 12), 0, 2)]
    fused = load(name)()(*sources)
    assert fused.dtype == torch.float16
    assert torch.isfinite(fused).all()


@every
def test_sources_that_ask_for_gradients_are_taken(name: str) -> None:
    sources = [s.requires_grad_() for s in draw(name, (16, 12), 0, 2)]
    assert torch.equal(load(name)()(*sources).detach(), load(name)()(*(s.detach() for s in sources)))
