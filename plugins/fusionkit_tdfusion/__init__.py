"""Shipped plugin: TDFusion, whose fusion loss is taught by what the fused image is for."""
