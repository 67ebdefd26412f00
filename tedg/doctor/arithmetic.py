"""What PyTorch can do here: GPU, CUDA graphs, and products of matrices."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator

import torch

from tedg.doctor.line import Line
from tedg.learn.capture import cuda_graph

MATRIX_SIZE = 1024
SECONDS = 0.5  # of products
SLOW = 5e9  # FLOP/s of a core; those of the last ten years do ten times that
_LISTED = "/dev/nvidia[0-9]*"  # what the driver shows of GPUs


def lines() -> Iterator[Line]:
    """PyTorch, GPU, CUDA graphs, matrix rate."""
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    yield Line("ok", "PyTorch", f"{torch.__version__}, {build}, {torch.backends.cpu.get_cpu_capability()}")
    yield from gpu()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    yield rate(device, len(os.sched_getaffinity(0)))


def gpu() -> Iterator[Line]:
    """The GPU that device=auto would take, and whether updates can be captured there."""
    if not torch.cuda.is_available():
        listed = glob.glob(_LISTED)
        if not listed:
            yield Line("ok", "GPU", "none; device=auto takes the CPU")
        elif torch.version.cuda is None:
            remedy = "PIP_EXTRA_INDEX_URL=<PyTorch's index for your CUDA> make setup"
            yield Line("warn", "GPU", "there is one, and this build of PyTorch is for the CPU alone", remedy)
        else:
            remedy = "compare nvidia-smi's CUDA version with the build's, and look at CUDA_VISIBLE_DEVICES"
            yield Line("bad", "GPU", "there is one, and PyTorch cannot use it", remedy)
        return
    free, total = torch.cuda.mem_get_info()
    memory = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    yield Line("ok", "GPU", f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {memory}")
    yield graph()


def graph() -> Line:
    """Capture one product as a CUDA graph, and replay it."""
    value = torch.ones(64, 64, device="cuda")
    result = torch.zeros_like(value)

    def function() -> None:
        torch.mm(value, value, out=result)

    try:
        replay = cuda_graph(function, lambda: None)
        value.fill_(2.0)
        replay()
        right = bool((result == 256).all())
    except RuntimeError as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        return Line("warn", "CUDA graphs", f"not captured: {said}", "cuda_graphs=false: slower")
    if not right:
        return Line("bad", "CUDA graphs", "a replay gives wrong numbers", "cuda_graphs=false")
    return Line("ok", "CUDA graphs", "captured and replayed")


def rate(device: torch.device, cores: int) -> Line:
    """FLOP/s of the fastest of many float32 products, on all cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        left, right, result = (torch.randn(MATRIX_SIZE, MATRIX_SIZE, device=device) for _ in range(3))
        fastest, end = float("inf"), time.perf_counter() + SECONDS
        while (start := time.perf_counter()) < end:
            torch.mm(left, right, out=result)
            if device.type == "cuda":
                torch.cuda.synchronize()
            fastest = min(fastest, time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return judged(2 * MATRIX_SIZE**3 / fastest, device.type, cores)


def judged(flops: float, kind: str, cores: int) -> Line:
    """What a rate on this kind of device says."""
    where = "on the GPU" if kind == "cuda" else f"on {cores} core{'s' * (cores > 1)}"
    said = f"{flops / 1e9:,.0f} GFLOP/s in float32 {where}"
    if kind == "cpu" and flops < SLOW * cores:
        remedy = "other processes use the cores, a container's limit is below them, or the CPU has no AVX2"
        return Line("warn", "matrix rate", said, remedy)
    return Line("ok", "matrix rate", said)
