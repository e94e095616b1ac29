"""Data, taxonomy, metrics, configuration and the command line of rs-toolkit."""
