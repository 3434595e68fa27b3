"""Functions that build networks, scripts that train them, and the trained network of the demo."""
