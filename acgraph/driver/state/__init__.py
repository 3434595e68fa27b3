"""The context and the state that stages of a run share."""
