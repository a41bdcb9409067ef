"""The benchmarks: servers beside each other under load. `docs/performance.md` has the figures."""
