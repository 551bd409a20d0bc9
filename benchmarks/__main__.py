"""All benchmarks, one after another: ``python -m benchmarks``."""

from __future__ import annotations

from benchmarks import deep_lyapunov, second_order

if __name__ == "__main__":
    second_order.main()
    deep_lyapunov.main()
