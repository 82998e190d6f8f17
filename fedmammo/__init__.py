"""Federated hospital simulation for multi-site mammography studies."""
