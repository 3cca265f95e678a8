"""``python -m fusionkit``."""

from __future__ import annotations

from fusionkit.cli import main

if __name__ == "__main__":
    main(prog_name="fusionkit")
