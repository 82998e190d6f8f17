"""Flower apps, messages, strategies, grids; nothing here looks at an image."""
