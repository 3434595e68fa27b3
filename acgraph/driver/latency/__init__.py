"""Latency: the choice of compact forms, tables of layer times, and latency as a target."""
