"""Plugins: found by reading text, loaded on first use, each failing on its own."""

from __future__ import annotations
