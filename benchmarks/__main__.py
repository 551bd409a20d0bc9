"""All benchmarks, one after another: ``python -m benchmarks``."""

from __future__ import annotations

from benchmarks import checkpoints, deep_lyapunov, lyapunov_map, second_order, tangent

if __name__ == "__main__":
    second_order.main()
    deep_lyapunov.main()
    lyapunov_map.main()
    tangent.main()
    checkpoints.main()
