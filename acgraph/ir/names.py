"""Names that nothing in a graph has yet."""


def fresh(stem: str, taken: set[str], mark: str = "_") -> str:
    """Return a name that is not taken, and reserve it.

    Args:
        stem: The name itself where it is free; a number follows where it is not.
        taken: The names that there are; the result is added.
        mark: What stands before the number.

    >>> fresh("conv", {"conv", "conv_2"})
    'conv_3'
    """
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}{mark}{number}", number + 1
    taken.add(name)
    return name
