"""Checkpoints that do not fit in memory: bytes held, and time beside plain reading.

1. Two sharded bf16 checkpoints (4 GB each by default) are made up, then `wingbeat compare` runs
   in a process of its own; beside it both are read with ``cat`` to nowhere. Rounds alternate,
   once with the files in the page cache (warm) and once thrown out of it (cold, through
   ``posix_fadvise``). The peak is the kernel's ``VmHWM`` of the whole process: Python, torch
   and any mapped page included. CPU seconds stand beside, for machines that do other work too.
   Two unrelated checkpoints (the default) need less arithmetic than two neighbours (``--near``).
2. Gram matrix and PCA over 50 bf16 checkpoints at three sizes: seconds per parameter.

    python -m benchmarks.checkpoints [--gigabytes 4] [--near] [--sizes 10e6,30e6,100e6]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SHARDS, WIDTH = 4, 4096
CHILD = """
import json, re, sys, time
from pathlib import Path
from wingbeat.checkpoints import compare
begin, used = time.perf_counter(), time.process_time()
found = compare(sys.argv[2:], memory=sys.argv[1], check=False)
seconds, used = time.perf_counter() - begin, time.process_time() - used
pca = found.pca(min(3, len(found.labels)))
peak = 1024 * int(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])
print(json.dumps({"seconds": seconds, "cpu": used, "peak": peak, "l2": found.l2[-1], "parameters":
    found.parameters, "buffers": found.memory, "explained": pca.explained.tolist()}))
"""


def make(
    folder: Path, size: int, seed: int, shards: int = SHARDS, *, near: bool = False
) -> list[Path]:
    """Write a sharded bf16 checkpoint of ``size`` bytes; returns its shards.

    With ``near`` it differs from the one of seed 0 in the last bit of half of its numbers.
    """
    folder.mkdir(parents=True)
    bits = np.random.default_rng(seed) if near else None
    seed = 0 if near else seed
    rng = np.random.default_rng(seed)
    rows = max(1, size // shards // 8 // (2 * WIDTH))
    noise = rng.standard_normal(rows * WIDTH, dtype=np.float32).view(np.uint32) >> np.uint32(16)
    raw = noise.astype(np.uint16)
    if bits is not None:
        raw ^= bits.integers(0, 2, raw.shape, dtype=np.uint16)
    weights, files = {}, []
    for shard in range(shards):
        name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        header, place = {}, 0
        for part in range(8):
            tensor = f"model.layers.{shard * 8 + part}.weight"
            span = [place, place + raw.nbytes]
            header[tensor] = {"dtype": "BF16", "shape": [rows, WIDTH], "data_offsets": span}
            weights[tensor], place = name, place + raw.nbytes
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with (folder / name).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for part in range(8):
                file.write(np.roll(raw, 977 * (part + 1) + shard).tobytes())
        files.append(folder / name)
    index = {"metadata": {"total_size": 0}, "weight_map": weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return files


def forget(files: list[Path]) -> None:
    """Throw files out of the page cache."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_with_cat(files: list[Path]) -> tuple[float, float]:
    """Return the seconds of ``cat FILES`` to nowhere, and those of the processor."""
    begin, used = time.perf_counter(), os.times()
    subprocess.run(["cat", *map(str, files)], stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.perf_counter() - begin, os.times()
    return seconds, sum(after[2:4]) - sum(used[2:4])


def ours(folders: list[Path], memory: str) -> dict[str, Any]:
    """Compare in a fresh process; ``wall`` includes starting Python and importing torch."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, memory, *map(str, folders)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "wall": time.perf_counter() - begin}


def two(root: Path, size: int, rounds: int, memory: str, *, near: bool) -> dict[str, Any]:
    folders = [root / "a", root / "b"]
    files = make(folders[0], size, 0) + make(folders[1], size, 1, near=near)
    rows: dict[str, Any] = {"gigabytes_each": round(size / 1e9, 2), "near": near, "memory": memory}
    for state in ("warm", "cold"):
        cats, runs = [], []
        read_with_cat(files)
        for _ in range(rounds):
            if state == "cold":
                forget(files)
            cats.append(read_with_cat(files))
            if state == "cold":
                forget(files)
            runs.append(ours(folders, memory))
        cat = statistics.median(seconds for seconds, _ in cats)
        rows[state] = {
            "cat_seconds": [round(seconds, 2) for seconds, _ in cats],
            "cat_cpu": [round(used, 2) for _, used in cats],
            "compare_seconds": [round(r["seconds"], 2) for r in runs],
            "compare_cpu": [round(r["cpu"], 2) for r in runs],
            "with_start_seconds": [round(r["wall"], 2) for r in runs],
            "ratio": round(statistics.median(r["seconds"] for r in runs) / cat, 2),
            "ratio_with_start": round(statistics.median(r["wall"] for r in runs) / cat, 2),
            "load": round(os.getloadavg()[0], 1),
            "peak_mib": round(max(r["peak"] for r in runs) / 2**20),
            "buffers_mib": round(runs[0]["buffers"] / 2**20, 1),
            "parameters": runs[0]["parameters"],
        }
    for folder in folders:
        shutil.rmtree(folder)
    return rows


def many(root: Path, parameters: int, count: int, memory: str) -> dict[str, Any]:
    folders = [root / f"step-{i}" for i in range(count)]
    files = [f for i, d in enumerate(folders) for f in make(d, 2 * parameters, i, shards=1)]
    cat, _ = read_with_cat(files)
    found = ours(folders, memory)
    for folder in folders:
        shutil.rmtree(folder)
    return {
        "parameters": found["parameters"],
        "checkpoints": count,
        "seconds": round(found["seconds"], 2),
        "cpu_seconds": round(found["cpu"], 2),
        "cpu_ns_per_parameter": round(1e9 * found["cpu"] / found["parameters"], 1),
        "ns_per_parameter": round(1e9 * found["seconds"] / found["parameters"], 1),
        "cat_seconds": round(cat, 2),
        "peak_mib": round(found["peak"] / 2**20),
        "buffers_mib": round(found["buffers"] / 2**20, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4.0, help="of each of the two")
    parser.add_argument("--sizes", default="10e6,30e6,100e6", help="parameters; '' for none")
    parser.add_argument("--near", action="store_true", help="two neighbours, not strangers")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write; it is emptied afterwards")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        root = Path(name)
        if options.gigabytes:
            size = int(options.gigabytes * 1e9)
            rows.append(two(root, size, options.rounds, "1GiB", near=options.near))
            print(json.dumps(rows[-1], indent=1), flush=True)
        for size in filter(None, options.sizes.split(",")):
            rows.append(many(root, int(float(size)), options.count, "2GiB"))
            print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
