"""What stages hand on."""
