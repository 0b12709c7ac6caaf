"""Jobs of the gateway: harmless when run twice or never."""
