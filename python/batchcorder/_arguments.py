"""Arguments of the public functions: checked, converted, and renamed."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


def renamed(old: str, new: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """
    Return a decorator that accepts the former name of a keyword argument.

    The former name raises DeprecationWarning. It is an error if the caller passes the
    argument by both names, or by position and by its former name.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        place = function.__code__.co_varnames.index(new)
        is_positional = place < function.__code__.co_argcount
        name = function.__name__

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> _R:
            if old in kwargs:
                if new in kwargs or (is_positional and len(args) > place):
                    raise TypeError(
                        f"{name}() got {old!r}, the former name of {new!r}, and {new!r}"
                    )
                warnings.warn(
                    f"{name}({old}=) is deprecated: use {new}=",
                    DeprecationWarning,
                    stacklevel=2,
                )
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate
