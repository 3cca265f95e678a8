"""Fusion-quality metrics: one module per metric family, with the conventions of published code as profiles.

    from fusionkit.metrics import score_files
    print(score_files("fused.png", "infrared.png", "visible.png", profile="refusion"))

How to add a metric
-------------------
A module is named after its metric: ``ssim.py``, ``vif.py``, ``qabf.py``, ``mutual_information.py`` (MI, NMI),
``piella.py`` (QS, QW, QE). To add one, here or in a plugin of your own:

1. Write a pure function of ``(B, 1, H, W)`` tensors on the 0..255 scale that returns ``(B,)``. Options are typed and
   keyword-only. Intermediate results that other metrics need as well (histograms, window moments, Sobel responses) are
   requested through ``cache``, which by default just calls the function::

       def entropy(fused: Tensor, *, base: float = 2.0, cache: Cache = no_cache) -> Tensor:
           p = cache(histogram, fused)
           ...

2. Write a frozen dataclass whose fields are the convention. The defaults are those of the metric's own paper, without
   bugs, and defined on every image::

       @dataclass(frozen=True, kw_only=True)
       class EN(CachingMetric):
           info: ClassVar[MetricInfo] = MetricInfo(name="EN", ...)
           base: float = 2.0

           def measure(self, inputs: MetricInputs) -> Tensor:
               return entropy(inputs.fused, base=self.base, cache=inputs.cache)

3. Register the class as an entry point in the group ``fusionkit.metrics`` (in ``pyproject.toml``), and reinstall.
   If a published profile has the metric, add its name and the fields that differ from the defaults to that profile.
4. Run the tests: those for all registered metrics cover the new one. ``python docs/tools/tables.py`` lists it in
   ``docs/metrics.md``.

Building blocks: :mod:`~fusionkit.metrics.inputs` (the images and the cache), :mod:`~fusionkit.metrics.histograms` (grey
levels, 256-bin histograms, min-max stretch), :mod:`~fusionkit.metrics.windows` (separable filters, local moments),
:mod:`~fusionkit.metrics.gradients` (Sobel, central differences), :mod:`~fusionkit.metrics.arithmetic` (0/0, roots,
correlation, sum or mean over the sources), :mod:`~fusionkit.metrics.tiles` (row blocks that fit the CPU cache). A field
named ``undefined`` is the value where the formula is 0/0: a documented finite number by default, ``nan`` in profiles
that stand for published code.
"""

from __future__ import annotations

from fusionkit.metrics.image_files import read_luminance, score_files
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache
from fusionkit.metrics.naming import build, conventions, resolve
from fusionkit.metrics.profiles import PROFILES, Profile, profiles
from fusionkit.metrics.scoring import Scores, evaluate, score

__all__ = [
    "PROFILES",
    "Cache",
    "CachingMetric",
    "MetricInputs",
    "Profile",
    "Scores",
    "build",
    "conventions",
    "evaluate",
    "no_cache",
    "profiles",
    "read_luminance",
    "resolve",
    "score",
    "score_files",
]
