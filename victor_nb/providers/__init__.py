"""The providers: what is known of each, and a client for each protocol."""
