"""Latency: how forms of layers are chosen by it, tables of layers, and latency as a target."""
