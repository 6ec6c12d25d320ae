"""What the gateway tells of itself: usage, request records, metrics, logs."""
