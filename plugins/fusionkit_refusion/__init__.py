"""Shipped plugin."""
