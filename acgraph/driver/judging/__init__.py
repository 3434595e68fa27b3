"""How the points of a search are judged: by how many images, and in which processes."""
