"""Steps that a backtracking matcher takes for a regular expression: what `re` does, counted instead of timed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

Continue = Iterator[int]


class Counter:
    """A pattern, matched with counted steps, by the rules of `re` (first alternative first, greedy first)."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern, self.steps = pattern, 0
        self.ignore = bool(pattern.flags & re.IGNORECASE)
        self.multiline = bool(pattern.flags & re.MULTILINE)
        self.nodes = list(parser.parse(pattern.pattern, pattern.flags))

    def search(self, text: str, begin: int = 0) -> tuple[int, int] | None:
        """Where the pattern is found first."""
        self.text = text
        for start in range(begin, len(text) + 1):
            self.groups: dict[int, tuple[int, int]] = {}
            end = next(self._match(self.nodes, 0, start), None)
            if end is not None:
                return start, end
        return None

    def finditer(self, text: str) -> list[tuple[int, int]]:
        """All places that do not overlap."""
        found, at = [], 0
        while at <= len(text) and (place := self.search(text, at)) is not None:
            found.append(place)
            at = place[1] if place[1] > place[0] else place[1] + 1
        return found

    def _match(self, nodes: list[Any], i: int, at: int) -> Continue:
        self.steps += 1
        if i == len(nodes):
            yield at
            return
        op, argument = nodes[i]
        single = self._single(op, argument)
        if single is not None:
            if at < len(self.text) and single(self.text[at]):
                yield from self._match(nodes, i + 1, at + 1)
        elif op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
            yield from self._repeat(nodes, i, at)
        elif op is ops.BRANCH:
            for branch in argument[1]:
                for end in self._match(list(branch), 0, at):
                    yield from self._match(nodes, i + 1, end)
        elif op is ops.SUBPATTERN:
            group, inner = argument[0], list(argument[3])
            for end in self._match(inner, 0, at):
                before = dict(self.groups)
                if group is not None:
                    self.groups[group] = (at, end)
                yield from self._match(nodes, i + 1, end)
                self.groups = before
        elif op in (ops.ASSERT, ops.ASSERT_NOT):
            if self._looks(argument, at) == (op is ops.ASSERT):
                yield from self._match(nodes, i + 1, at)
        elif op is ops.AT:
            if self._anchored(argument, at):
                yield from self._match(nodes, i + 1, at)
        elif op is ops.GROUPREF_EXISTS:
            chosen = argument[1] if argument[0] in self.groups else argument[2]
            for end in self._match(list(chosen or []), 0, at):
                yield from self._match(nodes, i + 1, end)
        else:
            raise NotImplementedError(op)

    def _looks(self, argument: Any, at: int) -> bool:
        direction, inner = argument
        start = at - inner.getwidth()[0] if direction < 0 else at
        return start >= 0 and any(direction > 0 or end == at for end in self._match(list(inner), 0, start))

    def _repeat(self, nodes: list[Any], i: int, at: int) -> Continue:
        op, (least, most, inner) = nodes[i]
        most = len(self.text) + 1 if most is ops.MAXREPEAT else int(most)
        inner = list(inner)
        single = self._single(*inner[0]) if len(inner) == 1 else None
        if single is not None and op is ops.MAX_REPEAT:
            end = at
            while end - at < most and end < len(self.text) and single(self.text[end]):
                end += 1
                self.steps += 1
            for stop in range(end, at + least - 1, -1):
                yield from self._match(nodes, i + 1, stop)
        else:
            yield from self._repeated(nodes, i, at, inner, least, most, op is ops.MAX_REPEAT)

    def _repeated(
        self, nodes: list[Any], i: int, at: int, inner: list[Any], least: int, most: int, greedy: bool
    ) -> Continue:
        if least <= 0 and not greedy:
            yield from self._match(nodes, i + 1, at)
        if most > 0:
            for end in self._match(inner, 0, at):
                if end > at or least > 0:
                    yield from self._repeated(nodes, i, end, inner, least - 1, most - 1, greedy)
        if least <= 0 and greedy:
            yield from self._match(nodes, i + 1, at)

    def _anchored(self, where: Any, at: int) -> bool:
        text = self.text
        if where is ops.AT_BEGINNING:
            return at == 0 or (self.multiline and text[at - 1] == "\n")
        if where is ops.AT_END:
            return at == len(text) or text[at:] == "\n" or (self.multiline and text[at] == "\n")
        if where in (ops.AT_END_STRING, ops.AT_BEGINNING_STRING):
            return at == (len(text) if where is ops.AT_END_STRING else 0)
        words = [0 <= k < len(text) and (text[k].isalnum() or text[k] == "_") for k in (at - 1, at)]
        return (words[0] != words[1]) == (where is ops.AT_BOUNDARY)

    def _single(self, op: Any, argument: Any) -> Callable[[str], bool] | None:
        """Whether one character fits, for what matches exactly one."""
        if op is ops.LITERAL:
            return lambda c: c == chr(argument) or (self.ignore and c.lower() == chr(argument).lower())
        if op is ops.NOT_LITERAL:
            return lambda c: c != chr(argument)
        if op is ops.ANY:
            return lambda c: c != "\n"
        if op is ops.IN:
            negated = argument[0][0] is ops.NEGATE
            items = argument[1:] if negated else argument
            return lambda c: any(self._in(c, *item) for item in items) != negated
        return None

    def _in(self, c: str, op: Any, argument: Any) -> bool:
        if op is ops.LITERAL:
            return c == chr(argument) or (self.ignore and c.lower() == chr(argument).lower())
        if op is ops.RANGE:
            return any(argument[0] <= ord(x) <= argument[1] for x in ({c, c.lower(), c.upper()} if self.ignore else c))
        kinds = {
            ops.CATEGORY_DIGIT: str.isdecimal,
            ops.CATEGORY_SPACE: str.isspace,
            ops.CATEGORY_WORD: lambda c: c.isalnum() or c == "_",
            ops.CATEGORY_NOT_SPACE: lambda c: not c.isspace(),
            ops.CATEGORY_NOT_DIGIT: lambda c: not c.isdecimal(),
            ops.CATEGORY_NOT_WORD: lambda c: not (c.isalnum() or c == "_"),
        }
        return kinds[argument](c)
