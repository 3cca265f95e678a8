"""fusionkit: train, run and compare image-fusion methods."""

from __future__ import annotations
