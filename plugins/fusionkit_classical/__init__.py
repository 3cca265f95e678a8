"""Shipped plugin: classical image fusion without learning, and the controls that unmask a metric."""
