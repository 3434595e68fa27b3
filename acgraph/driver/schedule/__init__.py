"""Scheduling of a run: epochs, seconds and memory."""
