"""What the gateway would do: one request, many, or those of the log, through the data plane's own code."""
