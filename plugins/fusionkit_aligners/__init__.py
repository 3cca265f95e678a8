"""Aligners: by the edges that two modalities share, and by mutual information."""
