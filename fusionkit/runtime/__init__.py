"""Where a program runs: devices, processes, torchvision."""
