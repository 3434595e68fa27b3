"""Graph passes, one concern a module."""
