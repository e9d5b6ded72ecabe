"""All I/O, as httpx2 transports: the real network, and an in-process simulator that speaks the same protocols."""
