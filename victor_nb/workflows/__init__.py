"""Many orchestrators at once."""
