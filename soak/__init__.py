"""Long-running proofs of the proxy port, against a gateway that runs as a process: docs/soak.md."""
