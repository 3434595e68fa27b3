"""Search for per-family filter and column rates; knows no backend, only a callable."""
