"""The stages of ``compress`` and ``prune``, in order."""
