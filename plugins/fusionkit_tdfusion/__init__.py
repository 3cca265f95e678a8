"""Shipped plugin: TDFusion, whose fusion loss is learned from a downstream network."""
