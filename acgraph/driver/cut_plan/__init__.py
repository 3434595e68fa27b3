"""Plans in terms of the file that was cut: made of a cut, and applied to repeat it."""
