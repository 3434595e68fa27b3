"""What a network costs: as a point of the search, and as the file that is written."""
