"""Training as the driver uses it: recovery from divergence, masks, ADMM, several processes."""
