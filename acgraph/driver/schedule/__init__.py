"""How the budget of a run is spent: epochs, seconds, memory."""
