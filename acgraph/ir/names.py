"""Unique names in a graph."""


def fresh(stem: str, taken: set[str], mark: str = "_") -> str:
    """Return a name that is not taken, and reserve it.

    Args:
        stem: The preferred name; a number is appended where it is taken.
        taken: The names in use; the result is added.
        mark: Separator before the number.

    >>> fresh("conv", {"conv", "conv_2"})
    'conv_3'
    """
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}{mark}{number}", number + 1
    taken.add(name)
    return name
