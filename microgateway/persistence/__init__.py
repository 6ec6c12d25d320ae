"""What survives a restart: the configuration in a database, and the generated secrets beside it."""
