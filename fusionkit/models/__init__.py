"""Weights files, model cards, and the models that ship with plugins."""

MODEL_FILE = "model.safetensors"
"""The fuser's weights in a finished run's folder."""
