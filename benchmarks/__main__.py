"""All benchmarks, one after another: ``python -m benchmarks``."""

from __future__ import annotations

from benchmarks import (
    alignment,
    barriers,
    checkpoints,
    deep_lyapunov,
    dense_family,
    lyapunov_map,
    minutes,
    second_order,
    study,
    tangent,
)

if __name__ == "__main__":
    second_order.main()
    deep_lyapunov.main()
    lyapunov_map.main()
    tangent.main()
    barriers.main()
    alignment.main()
    study.main([])
    checkpoints.main()
    dense_family.main()
    minutes.main([])
