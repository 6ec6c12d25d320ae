"""Where operators work: the configuration, its API, and the pages of the control port. No request ever passes here."""
