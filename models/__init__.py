"""Networks that the project builds itself, and the trained one of the demo."""
