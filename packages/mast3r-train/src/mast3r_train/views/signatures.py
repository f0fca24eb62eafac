"""Which arguments a dataset takes, its base's included: for checks before it is built, and for messages."""

from __future__ import annotations

import inspect


def full_signature(cls: type) -> inspect.Signature:
    """The arguments of a class whose constructors hand ``**options`` on to that of their base.

    Python's own signature ends at ``**options``, so that a wrong name would only be found by the base, whose
    message does not say what the dataset takes.
    """
    found: dict[str, inspect.Parameter] = {}
    constructors = [base.__dict__["__init__"] for base in cls.__mro__ if "__init__" in base.__dict__]
    for depth, constructor in enumerate(constructors):
        own = list(inspect.signature(constructor).parameters.values())[1:]  # without self
        for parameter in own:
            if parameter.kind is not parameter.VAR_KEYWORD:
                # Only the class's own constructor is called by position.
                kind = parameter.KEYWORD_ONLY if depth else parameter.kind
                found.setdefault(parameter.name, parameter.replace(kind=kind))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
            break
    return inspect.Signature(sorted(found.values(), key=lambda parameter: parameter.kind))
