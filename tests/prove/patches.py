"""How a bug is planted: a piece of source text that must be there exactly once is replaced, in memory, for as long as a `with` lasts."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from live.infra.redis import Script


class Patch(Protocol):
    """One replaced piece of text."""

    def apply(self) -> Iterator[None]:
        """Planted from the first step of the generator to its end."""
        ...


class MissingError(Exception):
    """The text to be replaced is not there exactly once: the code has moved on, and the bug must be planted anew."""


def replaced(source: str, old: str, new: str, where: str) -> str:
    """The source with the bug in it."""
    if source.count(old) != 1:
        raise MissingError(f"{where} holds {source.count(old)} times: {old}")
    return source.replace(old, new)


@dataclass(frozen=True, slots=True)
class Lua:
    """A bug in a script; `where` is `module:name` of a `Script`."""

    where: str
    old: str
    new: str

    def apply(self) -> Iterator[None]:
        """Change the script that is sent, and its hash."""
        module, name = self.where.split(":")
        script: Script = getattr(importlib.import_module(module), name)
        before = script.source
        script.source = replaced(before, self.old, self.new, self.where)
        script.sha = hashlib.sha1(script.source.encode(), usedforsecurity=False).hexdigest()
        try:
            yield
        finally:
            script.source = before
            script.sha = hashlib.sha1(before.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Code:
    """A bug in Python; `where` is `module:function` or `module:Class.method`."""

    where: str
    old: str
    new: str

    def apply(self) -> Iterator[None]:
        """Compile the changed function where the old one was."""
        module_name, name = self.where.split(":")
        module = importlib.import_module(module_name)
        owner: Any = module
        *outer, last = name.split(".")
        for part in outer:
            owner = getattr(owner, part)
        before = vars(owner)[last]
        source = replaced(textwrap.dedent(inspect.getsource(before)), self.old, self.new, self.where)
        scope: dict[str, Any] = {}
        exec(compile(source, self.where, "exec", flags=annotations.compiler_flag), vars(module), scope)
        setattr(owner, last, scope[last])
        try:
            yield
        finally:
            setattr(owner, last, before)


@dataclass(frozen=True, slots=True)
class Value:
    """A constant with another value."""

    where: str
    value: Any

    def apply(self) -> Iterator[None]:
        """Set it."""
        module_name, name = self.where.split(":")
        module = importlib.import_module(module_name)
        before = getattr(module, name)
        setattr(module, name, self.value)
        try:
            yield
        finally:
            setattr(module, name, before)


@contextmanager
def planted(patches: tuple[Patch, ...]) -> Iterator[None]:
    """All of them, for the length of the block."""
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(contextmanager(patch.apply)())
        yield
