"""Resolves what a device installs from wheels alone, for the systems and Pythons of the devices.

    make wheels     asks the package index; nothing is installed

uv resolves, as it holds every marker against the device's Python and system where pip takes its own.
llama-cpp-python is left out: it is built from source, with the flags of docs/install. The last line is JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.13")
SYSTEMS = {"linux-aarch64": "aarch64-manylinux_2_28", "macos-arm64": "aarch64-apple-darwin"}
FROM_SOURCE = "llama-cpp-python"
SHOWN = ("numpy", "onnxruntime", "opencv-python", "tokenizers")


def wanted() -> str:
    """The requirements of the project, markers included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return "\n".join(line for line in project["dependencies"] if not line.startswith(FROM_SOURCE))


def resolve(python: str, system: str) -> dict[str, str]:
    """Package -> version that is installed there, from wheels only; CalledProcessError where it cannot be."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else "uv"
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"]
    command += ["--python-version", python, "--python-platform", SYSTEMS[system], "-"]
    run = subprocess.run(command, input=wanted(), capture_output=True, text=True, check=True)
    return dict(line.split("==") for line in run.stdout.splitlines() if "==" in line)


def main() -> None:
    """Exit code 0 where every one of them resolves."""
    failed: list[str] = []
    found: dict[str, int] = {}
    for name in (f"{system} {python}" for system in SYSTEMS for python in PYTHONS):
        system, python = name.split()
        try:
            packages = resolve(python, system)
        except subprocess.CalledProcessError as error:
            failed.append(name)
            print(f"{name}: {error.stderr}", flush=True)
            continue
        found[name] = len(packages)
        shown = ", ".join(f"{package} {packages.get(package)}" for package in SHOWN)
        print(f"{name}: {len(packages)} packages, {shown}", flush=True)
    print(json.dumps({"format": 1, "wheels": found, "failed": failed, "from_source": FROM_SOURCE}))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
