"""Shipped plugin: ReFusion."""
