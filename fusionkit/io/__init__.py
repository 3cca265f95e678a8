"""Image files, pixels and other files: reading, writing, colour, atomic writes, locks."""
