"""What the gateway tells of itself: usage, metrics, the logs, traces, and all of it as it happens."""
