"""Plans, masks and projections: what to remove, in numpy."""
