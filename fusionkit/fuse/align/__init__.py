"""Aligns two images of one scene, of one modality or of two, or all pairs of one rig."""
