"""Metrics compiled for CPUs: C++ behind a C interface, called through ctypes.

It is optional: where no library was compiled, PyTorch computes the same values.
"""
