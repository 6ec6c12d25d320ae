"""The judgement's parts, sans-io: standard library only, no clock and no randomness of their own."""
