"""What the driver trains with: fits that survive divergence, masks, ADMM, several processes."""
