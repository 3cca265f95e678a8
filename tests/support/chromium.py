"""Chromium for the tests that look at pages, and the mark that skips them without it."""

from __future__ import annotations

import shutil

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser", "chrome"))), None)
"""Path of the browser, or None."""

NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="put chromium or google-chrome on PATH to run this test"),
]
