"""What a user sets, and where it is read from."""
