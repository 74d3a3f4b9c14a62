"""What XLA and the C library are told before they start, so that training on CPUs is fast."""

import os
import sys

# On every machine the same, so that results do not depend on how many cores it has: as batches are divided otherwise,
# sums round otherwise.
DEVICES = 4
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
_COUNT = "xla_force_host_platform_device_count"


def huge_pages() -> dict[str, str]:
    """The variable that makes glibc ask for huge pages; none elsewhere, or where it is set already."""
    glibc = sys.platform == "linux" and "CS_GNU_LIBC_VERSION" in os.confstr_names
    return HUGE_PAGES if glibc and "GLIBC_TUNABLES" not in os.environ else {}


def use_huge_pages() -> None:
    """Starts this program again, once, with glibc told to ask for huge pages; elsewhere does nothing.

    XLA's workspace on a CPU is new memory in every step; in pages of 4 KiB its page faults took over a third of a
    training step. glibc reads the setting only when a program starts. Yours, if you have one, stands.
    """
    if told := huge_pages():
        os.environ.update(told)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def host_devices() -> dict[str, str]:
    """The variable that makes JAX see a CPU as several devices; none where yours names a number.

    XLA runs most of a program's operations one after another and divides few among cores, and must meet all cores
    for each of those; as devices the cores work side by side and meet in collectives only, and the workspace of each
    is small enough to be kept from step to step. `python -m benchmarks.scaling --ways devices` measures it.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    return {} if _COUNT in flags else {"XLA_FLAGS": f"{flags} --{_COUNT}={DEVICES}".strip()}


def use_host_devices() -> None:
    """Tells JAX so, if it has not started yet."""
    os.environ.update(host_devices())
