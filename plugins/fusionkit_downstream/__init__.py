"""Shipped plugin: detection and segmentation of one luminance channel, on any fitting timm backbone, from scratch."""
