"""Comparing methods: fuse, score, and keep every image's value of every metric in one file a method and data set."""

from __future__ import annotations
