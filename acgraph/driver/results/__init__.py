"""What a run writes and reports."""
