"""MicroGateway: an API gateway that one can install with pip, read in an afternoon and trust in production."""

__version__ = "0.1.0"
