"""What is said of a child that was killed: by whom, where the kernel's count of processes it has ended tells."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from container.endings import Endings
from tests.autoconfig.machines import written
from tests.container.cgroups import memory_group
from tests.container.processes import ROOT

V2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = """35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
GROUPS = {
    "version 2": ("0::/a\n", V2, "sys/fs/cgroup/a/memory.events"),
    "version 1": ("4:memory:/a\n0::/\n", V1, "sys/fs/cgroup/memory/a/memory.oom_control"),
    "version 2's top": ("0::/\n", V2, "proc/vmstat"),
}
EATS_ALL = "held = [bytearray(1 << 20) for _ in range(1 << 12)]"
WATCHED = f"""
import subprocess, sys
from container.endings import Endings
endings = Endings()
print(endings.of(subprocess.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]).returncode))
print(endings.of(subprocess.run([sys.executable, "-c", {EATS_ALL!r}]).returncode))
"""


@pytest.mark.parametrize("version", GROUPS)
def test_memory_is_to_blame_where_the_kernel_has_ended_one_more_for_it(tmp_path: Path, version: str) -> None:
    own, mounted, counts = GROUPS[version]
    files = {"proc/self/cgroup": own, "proc/self/mountinfo": mounted, counts: "other 7\noom_kill 3\n"}
    endings = Endings(written(tmp_path, files))
    assert "by hand or by the platform" in endings.of(-signal.SIGKILL)
    (tmp_path / counts).write_text("oom_kill_disable 0\nother 9\noom_kill 4\n")
    assert "memory ran out, for which the kernel has ended 1 here" in endings.of(-signal.SIGKILL)
    assert "by hand or by the platform" in endings.of(-signal.SIGKILL)


def test_where_nothing_counts_both_are_said(tmp_path: Path) -> None:
    assert Endings(tmp_path).of(-signal.SIGKILL) == "killed by SIGKILL: by the kernel for lack of memory, or by hand"


def test_another_signal_is_named_and_an_exit_is_no_killing(tmp_path: Path) -> None:
    assert [Endings(tmp_path).of(code) for code in (-signal.SIGSEGV, 0, 3)] == ["killed by SIGSEGV", "", ""]


def test_a_real_lack_of_memory_is_told_from_a_real_kill() -> None:
    with memory_group(64 << 20) as group:
        command = [*group.wrapper, sys.executable, "-c", WATCHED]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        assert group.kills() == 1
    assert ["memory ran out" in line for line in said] == [False, True]
