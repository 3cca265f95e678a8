"""Training runs: the run loop, the run folder, the figures."""
