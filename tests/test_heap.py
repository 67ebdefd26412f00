"""Memory that a process frees is there for its next tensors."""

from __future__ import annotations

import subprocess
import sys

import pytest

PAGES = """
import resource, sys
import numpy as np
from tedg.heap import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def touch():
    for megabytes in (8, 1, 30, 4):
        np.ones(megabytes << 17)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another allocator")
def test_freed_memory_is_not_asked_for_again():
    asked = {
        how: int(subprocess.run([sys.executable, "-c", PAGES, how], capture_output=True, check=True).stdout)
        for how in ("kept", "given back")
    }
    assert asked["kept"] < 100 < asked["given back"]
