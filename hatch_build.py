"""Build hook: compile the native forms where there is a compiler."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILING = "fusionkit/runtime/compiling.py"
SOURCES = ("fusionkit/metrics/native/fmi.cpp", "plugins/fusionkit_restormer/native/restormer.cpp")


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the compiled libraries into the wheel, which is then for this platform; else the wheel is for any."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is put together; a failure is one line, and no failure of the build."""
        spec = importlib.util.spec_from_file_location("_compiling", Path(self.root) / COMPILING)
        assert spec is not None
        assert spec.loader is not None
        compiling = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(compiling)
        for source in SOURCES:
            libraries, fault = compiling.compile_libraries(Path(self.root) / source)
            if fault:
                self.app.display_warning(f"{source} is left out ({fault}): PyTorch will compute, more slowly")
                continue
            build_data["artifacts"] += [f"/{Path(source).parent.as_posix()}/{library.name}" for library in libraries]
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"  # a C interface: any Python of the platform
