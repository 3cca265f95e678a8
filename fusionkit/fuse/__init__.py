"""Fusing files, folders and tensors with any fuser."""
