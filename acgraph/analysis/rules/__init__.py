"""Rules: how each operator turns the labels of its inputs into labels of its outputs."""
