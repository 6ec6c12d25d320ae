"""What survives a restart: in a database the configuration, its history, the request log, usage and metrics.

Secrets that were generated are in files beside it.
"""
