"""The composition roots: where settings become objects, and objects become a running gateway."""
