"""What this machine has: cores, and memory free here and now."""

import os
import re
from pathlib import Path
from typing import Any

# A kernel of a card costs some 8 µs to start, as much as 10⁵ lanes of a small step (benchmarks/gpu.py).
STEPS_A_KERNEL = 8
_MAPPINGS = Path("/proc/sys/vm/max_map_count")


def on_card() -> bool:
    """Whether JAX computes on an accelerator."""
    import jax

    return jax.default_backend() != "cpu"


def unrolled(steps: int) -> int:
    """Steps of a loop that are compiled as one: on a card several, so that they share a kernel."""
    return max(1, min(STEPS_A_KERNEL, steps)) if on_card() else 1


def cores() -> int:
    """Cores this process may use: those it is bound to, and no more than its Slurm job asked for (where
    Slurm binds nothing, that is only said)."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return max(1, min(bound, int(asked))) if re.fullmatch("[0-9]{1,9}", asked) else bound


def crowded() -> bool:
    """Whether this process has half of the mappings of memory that Linux allows it. A compiled program is
    five to ten, and at the limit the next one ends the process: no exception, a segmentation fault."""
    try:
        held = Path("/proc/self/maps").read_bytes().count(b"\n")
        return 2 * held > int(_MAPPINGS.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False


def free(device: Any = None) -> int | None:
    """Bytes free on a device (the host if None or a CPU); None where it cannot be known."""
    if device is not None and device.platform != "cpu":
        found = device.memory_stats() or {}
        if "bytes_limit" not in found:
            return None
        return found["bytes_limit"] - found.get("bytes_in_use", 0)
    known = [n for n in (_available(), _group_room()) if n is not None]
    return min(known) if known else None


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _group_room() -> int | None:
    """Room under the limit of this process's control group (containers)."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            most = Path(limit).read_text(encoding="ascii").strip()
            if most != "max":
                return max(0, int(most) - int(Path(used).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return None
