"""What programs are told before XLA and the C library start."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from sercl_jax import environment
from sercl_jax import main as main_lib

COUNT = "--xla_force_host_platform_device_count"


@pytest.mark.parametrize(("before", "after"), [
    (None, f"{COUNT}=4"), ("", f"{COUNT}=4"), ("--xla_dump_to=here", f"--xla_dump_to=here {COUNT}=4"),
    (f"{COUNT}=1", f"{COUNT}=1"), (f"--xla_dump_to=here {COUNT}=9", f"--xla_dump_to=here {COUNT}=9")])
def test_a_number_of_devices_that_is_yours_stands(monkeypatch, before, after):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    if before is not None:
        monkeypatch.setenv("XLA_FLAGS", before)
    environment.use_host_devices()
    assert os.environ["XLA_FLAGS"] == after
    environment.use_host_devices()
    assert os.environ["XLA_FLAGS"] == after


def seen(flags):
    """How many devices a new process has."""
    variables = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    code = "from sercl_jax import environment; environment.use_host_devices(); import jax; print(len(jax.devices()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True,
                          env={**variables, "JAX_PLATFORMS": "cpu", **flags})
    return int(done.stdout)


def test_jax_has_as_many_devices():
    assert seen({}) == 4
    assert seen({"XLA_FLAGS": f"{COUNT}=2"}) == 2


class Flags(dict):
    """Parsed flags, as few as `main._join_others` reads."""

    def __init__(self, coordinator, **values):
        super().__init__({name: SimpleNamespace(value=values.get(name))
                          for name in ("num_processes", "process_id", "heartbeat")})
        self.coordinator = coordinator


def test_the_command_line_asks_for_devices_unless_processes_join(monkeypatch):
    joined = []
    monkeypatch.setattr("sercl_jax.parallel.initialize", lambda *found, **more: joined.append(found))
    for name in ("SERCL_COORDINATOR", "SERCL_NUM_PROCESSES", "SERCL_PROCESS_ID", "SERCL_HEARTBEAT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(main_lib, "_FLAGS", Flags("here:1", num_processes=2, process_id=0))
    main_lib._join_others()
    assert (joined, os.environ["XLA_FLAGS"]) == ([("here:1", 2, 0)], "")
    monkeypatch.setattr(main_lib, "_FLAGS", Flags(None))
    main_lib._join_others()
    assert (len(joined), os.environ["XLA_FLAGS"]) == (1, f"{COUNT}=4")


@pytest.mark.parametrize(("platform", "names", "before", "told"), [
    ("linux", {"CS_GNU_LIBC_VERSION": 2}, None, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
    ("linux", {"CS_GNU_LIBC_VERSION": 2}, "glibc.malloc.hugetlb=0", {}),
    ("linux", {}, None, {}), ("darwin", {}, None, {})])
def test_huge_pages_are_asked_for_of_glibc_only(monkeypatch, platform, names, before, told):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "confstr_names", names)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if before is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", before)
    assert environment.huge_pages() == told
