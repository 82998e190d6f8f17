"""Patient-level differential privacy: mechanisms, accounting, secrets, plans, ledgers."""
