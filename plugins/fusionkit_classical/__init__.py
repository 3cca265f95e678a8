"""Shipped plugin: classical image fusion without learning, and controls that show whether a metric measures fusion."""
