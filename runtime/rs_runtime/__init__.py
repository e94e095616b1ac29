"""Read kits and classify photos offline: the runtime of rs-toolkit."""
