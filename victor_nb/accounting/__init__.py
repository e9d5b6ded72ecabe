"""Prices, budgets, and the ledger of attempts."""
