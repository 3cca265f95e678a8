"""The ROS 2 node of the page on streams, with stand-ins for the modules of ROS."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import fusionkit
from tests.support.pages import DOCS, blocks

RANGE = "27000,28100"


class _Node:
    def __init__(self, name: str) -> None:
        self.name, self.published = name, []  # type: ignore[var-annotated]

    def declare_parameter(self, name: str, value: str) -> Any:
        return SimpleNamespace(value=RANGE if name == "thermal_range" else value)

    def create_publisher(self, _kind: Any, topic: str, _depth: int) -> Any:
        return SimpleNamespace(publish=lambda message: self.published.append((topic, message)))


class _Bridge:
    def imgmsg_to_cv2(self, message: Any, encoding: str = "passthrough") -> Any:
        return message.pixels

    def cv2_to_imgmsg(self, pixels: Any, encoding: str) -> Any:
        return SimpleNamespace(pixels=pixels, encoding=encoding, header=None)


class _Together:
    def __init__(self, topics: Any, queue_size: int, slop: float) -> None:
        self.topics = topics

    def registerCallback(self, called: Any) -> None:
        self.called = called


def test_the_node_publishes_what_the_model_fuses(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(DOCS / "live.md", "py")
    modules: dict[str, dict[str, Any]] = {
        "rclpy": {"init": lambda: None, "spin": lambda _node: None},
        "rclpy.node": {"Node": _Node},
        "cv_bridge": {"CvBridge": _Bridge},
        "sensor_msgs": {},
        "sensor_msgs.msg": {"Image": object},
        "message_filters": {
            "Subscriber": lambda _node, _kind, name: name,
            "ApproximateTimeSynchronizer": _Together,
        },
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    namespace: dict[str, Any] = {"__name__": "fusion_node"}
    exec(block.text, namespace)
    node = namespace["FusionNode"]()
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    colour = cv2.GaussianBlur(noise, (0, 0), 2)
    thermal = 27000 + 4 * cv2.GaussianBlur(noise[..., 0], (0, 0), 3).astype(np.uint16)
    header = object()
    node.together.called(SimpleNamespace(pixels=thermal), SimpleNamespace(pixels=colour, header=header))
    ((topic, message),) = node.published
    assert node.together.topics == ["thermal", "visible"]
    assert (topic, message.encoding, message.header) == ("fused", "rgb8", header)
    known = fusionkit.load("refusion:ivif", speed="quarter").fuse(thermal, colour, bits=8, ranges=(RANGE, "full"))
    assert np.array_equal(message.pixels, known.array())
    assert message.pixels.shape == (64, 80, 3)
