"""Check the arguments of a public function: a mistake is a ``UsageError`` of one line."""

import difflib
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import pydantic

from acgraph.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that the names and the types of its arguments are checked.

    Numbers and strings are converted where nothing is lost, for instance ``"0.5"`` to a float.

    Args:
        function: The function, whose annotations state the types.

    Returns:
        A function that raises ``UsageError`` for an unknown keyword or a value of a wrong type.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        _refuse_unknown(function.__name__, kwargs, list(signature.parameters))
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"{function.__name__}: {error}") from None
        adapters = _adapters(function)
        for name, value in bound.arguments.items():
            bound.arguments[name] = _converted(adapters[name], name, value)
        return function(*bound.args, **bound.kwargs)

    return call


@functools.cache
def _adapters(function: Callable[..., Any]) -> dict[str, "pydantic.TypeAdapter[Any]"]:
    hints = typing.get_type_hints(function, include_extras=True)
    config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    return {
        name: pydantic.TypeAdapter(hint, config=None if _has_own(hint) else config)
        for name, hint in hints.items()
        if name != "return"
    }


def _has_own(hint: Any) -> bool:
    """Return whether a type has its own pydantic configuration; pydantic rejects a second one."""
    return isinstance(hint, type) and issubclass(hint, pydantic.BaseModel)


def _refuse_unknown(function: str, given: dict[str, Any], known: list[str]) -> None:
    for name in given:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=3)
        near += [other for other in known if name in other and other not in near]
        shown = ", ".join(f"'{other}'" for other in near[:3])
        raise UsageError(
            f"{function} has no option '{name}'",
            hint=f"did you mean {shown}?" if near else f"known: {', '.join(known)}",
        )


def _converted(adapter: "pydantic.TypeAdapter[Any]", name: str, value: Any) -> Any:
    try:
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        text = " ".join(repr(value).split())
        shown = text if len(text) <= 40 else f"a {type(value).__name__}"
        raise UsageError(f"{name}: {message[:1].lower()}{message[1:]}, not {shown}") from None
