"""Messages that nobody would send on purpose, given to the real readers, and h11 asked for its opinion.

Run by `scripts/fuzz`; `docs/fuzzing.md` says what is compared and what was found. The tests use the same parts.
"""
