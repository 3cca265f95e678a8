"""The machine that a program runs on: devices, processes, threads, torchvision."""
