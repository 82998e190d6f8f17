"""Synthetic images: where they come from, the pools they lie in, how good they are."""
