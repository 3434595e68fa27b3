"""The cost of a network: for a point of the search, and in its written form."""
