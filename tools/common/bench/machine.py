"""The machine that a benchmark ran on, in words: what a figure of one machine needs to mean something.

    from common.bench import machine
    machine.describe()                  # {"processor": …, "cores": 2, "caches": …, …}
    machine.cores()                     # physical cores that this process may use
"""

from __future__ import annotations

import datetime
import os
import platform
import re
from pathlib import Path

SYSTEM = Path("/sys/devices/system/cpu")
VECTORS = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimd", "asimddp")  # that kernels may use


def describe(program: Path) -> dict[str, str | int]:
    """Of now, and of the compiler that made the reference's program."""
    info = _read(Path("/proc/cpuinfo"))
    found: dict[str, str | int] = {
        "date": datetime.date.today().isoformat(),
        "processor": _field(info, "model name") or platform.machine(),
        "cores": cores(),
        "vectors": " ".join(name for name in VECTORS if name in (_field(info, "flags") or _field(info, "Features")).split()),
        "caches": caches(),
        "memory": memory(),
        "virtual": "yes" if "hypervisor" in _field(info, "flags").split() else "no",
        "kernel": f"{platform.system()} {platform.release()}",
        "compiler": compiler_of(program),
    }
    return {name: value for name, value in found.items() if value != ""}


def cores() -> int:
    """Physical ones: two threads of a core share its arithmetic."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    places = {(_read(SYSTEM / f"cpu{cpu}/topology/physical_package_id"), _read(SYSTEM / f"cpu{cpu}/topology/core_id") or str(cpu))
              for cpu in allowed}
    return len(places)


def caches() -> str:
    """`L1d 48K, L1i 32K, L2 2048K, L3 307200K`, as the kernel knows them, for one core."""
    found = []
    for folder in sorted((SYSTEM / "cpu0/cache").glob("index*")):
        level, kind, size = (_read(folder / name).strip() for name in ("level", "type", "size"))
        if size:
            found.append(f"L{level}{'' if kind == 'Unified' else kind[:1].lower()} {size}")
    return ", ".join(found)


def memory() -> str:
    total = _field(_read(Path("/proc/meminfo")), "MemTotal").split()
    return f"{int(total[0]) / 2**20:.0f} GiB" if total else ""


def compiler_of(program: Path) -> str:
    """As g++ and clang write it into what they make."""
    try:
        found = re.search(rb"(GCC: \([^)\0]*\) [0-9.]+|clang version [0-9.]+)", program.read_bytes())
    except OSError:
        return ""
    return found[1].decode("ascii", "replace") if found else ""


def busy() -> float:
    """How many programs want to run, on the average of the last minute."""
    return os.getloadavg()[0]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _field(text: str, name: str) -> str:
    """Of a file like /proc/cpuinfo: the first line of this name; "" without one."""
    found = re.search(rf"^{re.escape(name)}\s*: *(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""
