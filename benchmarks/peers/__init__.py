"""The contenders: how each is configured, started and asked for proof that it did the whole job."""
