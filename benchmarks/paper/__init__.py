"""ReFusion's Tables 1 to 7 and Figs. 8 to 14, one command each: ``python -m benchmarks.paper --help``."""
