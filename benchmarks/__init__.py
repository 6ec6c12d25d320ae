"""The gateway beside real peers: the same upstream, the same load, one core each, in one run. See README.md."""
