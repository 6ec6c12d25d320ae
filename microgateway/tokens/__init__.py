"""Bearer tokens: made, read, and believed or not."""
