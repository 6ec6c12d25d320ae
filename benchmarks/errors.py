"""Why a benchmark stops. The commands answer it with one message and exit code 1."""


class BenchmarkError(Exception):
    """A measurement that must not be trusted, or a part that did not start."""
