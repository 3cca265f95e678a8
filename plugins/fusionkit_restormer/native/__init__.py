"""F compiled for CPUs: C++ with every stage fused and streamed over the image, called through ctypes.

It is optional: :class:`NativeRestormer` says in one line why it cannot be had, and the toolkit takes PyTorch's form.
"""
