"""Metrics, statistics over patients, and the tables that a study leaves behind."""
