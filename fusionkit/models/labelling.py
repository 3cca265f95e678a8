"""Labels images by a network that is trained already: boxes or masks, with the network's confidence.

The network is that of a training run (``downstream.safetensors``), or one of torchvision's with weights of a
file. Nothing is downloaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionkit.contracts import IGNORE, Boxes, Downstream, LabelKind
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.io.color import luminance
from fusionkit.models.weights import build_to_fit, companion_facts, load_outer_loss, read_tensors
from fusionkit.runtime.torchvision import load_torchvision

__all__ = ["Labeller", "load_labeller", "mask_of"]

_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Statistics of ImageNet, which torchvision's segmentation networks expect to be taken off."""


class Labeller(ABC):
    """A trained network that labels images.

    Attributes:
        kind: boxes or masks.
        classes: names of the classes, by id.
        name: what it is called in records.
    """

    kind: LabelKind
    classes: tuple[str, ...]
    name: str

    @abstractmethod
    def boxes(self, image: Tensor) -> Boxes:
        """Boxes in an image ``(1, C, H, W)`` in [0, 1], C 1 or 3, with scores, highest first."""

    @abstractmethod
    def probabilities(self, image: Tensor) -> Tensor:
        """Probability of each class at each pixel, ``(K, H, W)``; 1 for the class of a network that states none."""


def load_labeller(weights: Path, *, network: str = "", classes: Sequence[str] = ()) -> Labeller:
    """Load a network to label with, on the CPU.

    Args:
        weights: ``downstream.safetensors`` of a run, or weights of a torchvision network, of which only tensors are
            read.
        network: torchvision's name of the network, such as ``ssdlite320_mobilenet_v3_large``; "" for a run's own.
        classes: names of the classes by id, the background of torchvision's networks included; those that torchvision
            trained the network with where empty.

    Raises:
        fusionkit.errors.DataError: the weights cannot be read, or are another network's.
        fusionkit.errors.UsageError: an unknown network, or weights that do not say what they are.
    """
    if network:
        return _TorchvisionLabeller(weights, network, tuple(classes))
    if classes:
        raise UsageError("--classes: a run's network has its classes in its file: leave them out")
    if not companion_facts(weights):
        raise UsageError(
            f"{weights}: does not say which network it belongs to: name torchvision's with --network, or give a run's "
            "downstream.safetensors"
        )
    return _OwnLabeller(weights)


class _OwnLabeller(Labeller):
    def __init__(self, weights: Path) -> None:
        network = load_outer_loss(weights)
        if not isinstance(network, Downstream):
            raise UsageError(f"{weights}: is no network that labels, but an outer loss of another kind")
        size = companion_facts(weights).get("size", ())
        self.network, self.size = network, tuple(int(side) for side in size)
        self.kind, self.classes = network.kind, tuple(network.classes)
        self.name = f"{type(network).__name__} of {weights.parent.name or weights.name}"

    def _seen(self, image: Tensor) -> Tensor:
        """The luminance, at the size that the network was trained at."""
        y = luminance(image)
        if not self.size:
            return y
        return F.interpolate(y, self.size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)

    def boxes(self, image: Tensor) -> Boxes:
        seen = self._seen(image)
        found: Any = self.network.predict(seen)
        (boxes,) = found
        scale = image.shape[-1] / seen.shape[-1], image.shape[-2] / seen.shape[-2]
        return Boxes(boxes.corners * boxes.corners.new_tensor((*scale, *scale)), boxes.classes, boxes.scores)

    def probabilities(self, image: Tensor) -> Tensor:
        found: Any = self.network.predict(self._seen(image))
        chosen = F.one_hot(found, len(self.classes)).movedim(-1, 1).float()
        return F.interpolate(chosen, image.shape[-2:], mode="bilinear", align_corners=False)[0]


class _TorchvisionLabeller(Labeller):
    def __init__(self, weights: Path, name: str, classes: tuple[str, ...]) -> None:
        load_torchvision()
        from torchvision.models import detection as detection
        from torchvision.models import get_model, get_model_weights, list_models
        from torchvision.models import segmentation as segmentation

        kinds: dict[LabelKind, list[str]] = {
            "detection": [n for n in list_models(module=detection) if "mask" not in n and "keypoint" not in n],
            "segmentation": list_models(module=segmentation),
        }
        kind = next((kind for kind, names in kinds.items() if name in names), None)
        if kind is None:
            raise UsageError(f"--network {name}: {did_you_mean(name, [*kinds['detection'], *kinds['segmentation']])}")
        trained = tuple(str(one) for one in next(iter(get_model_weights(name))).meta["categories"])
        self.kind, self.classes, self.name = kind, classes or trained, name
        more = {"weights_backbone": None} if kind == "detection" else {"weights_backbone": None, "aux_loss": None}
        tensors = read_tensors(weights)
        if kind == "segmentation":
            # Weights that torchvision publishes hold a second head, which only training uses.
            tensors = {key: value for key, value in tensors.items() if not key.startswith("aux_classifier.")}

        def build() -> nn.Module:
            built: nn.Module = get_model(name, weights=None, num_classes=len(self.classes), **more)
            return built

        fits = f"{weights}: these weights do not fit torchvision's {name} of {len(self.classes)} classes (--classes)"
        self.network: nn.Module = build_to_fit(build, tensors, fits).eval()

    def boxes(self, image: Tensor) -> Boxes:
        colour = image.expand(-1, 3, -1, -1)
        try:
            with torch.no_grad():
                (found,) = self.network(list(colour))
        except RuntimeError as error:
            if "custom C++ ops" not in str(error):
                raise
            raise UsageError(
                f"--network {self.name}: torchvision's compiled operators do not load beside PyTorch "
                f"{torch.__version__}: install builds that belong together (pytorch.org lists them)"
            ) from None
        order = found["scores"].argsort(descending=True)
        return Boxes(found["boxes"][order], found["labels"][order], found["scores"][order])

    def probabilities(self, image: Tensor) -> Tensor:
        colour = image.expand(-1, 3, -1, -1)
        mean, spread = (torch.tensor(values)[:, None, None] for values in (_MEAN, _SPREAD))
        with torch.no_grad():
            scores: Tensor = self.network((colour - mean) / spread)["out"]
        return scores.softmax(1)[0]


def mask_of(probabilities: Tensor, confidence: float) -> Tensor:
    """Most probable class of each pixel, ``(H, W)`` int64; :data:`fusionkit.contracts.IGNORE` below a probability."""
    best, mask = probabilities.max(0)
    return torch.where(best >= confidence, mask, torch.full_like(mask, IGNORE))
