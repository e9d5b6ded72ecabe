"""What calls cost, and where that is written down: prices, and the ledger of attempts."""
