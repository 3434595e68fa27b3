"""Evaluation of the points of a search: on how many images, and in which processes."""
