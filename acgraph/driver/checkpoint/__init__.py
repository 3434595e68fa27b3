"""Checkpoints of a run, and the checks that it is resumed with the same options and inputs."""
