"""Shipped plugin: networks that use a fused image, trained from scratch on one luminance channel."""
