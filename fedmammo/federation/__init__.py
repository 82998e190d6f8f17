"""Flower apps, messages, rounds, grids; nothing here looks at an image."""
