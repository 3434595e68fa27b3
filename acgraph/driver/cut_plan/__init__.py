"""Cut plans: recorded in terms of the original file, and applied to repeat a cut."""
