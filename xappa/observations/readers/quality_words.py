"""Meaning of the words that networks use for the results of their quality control."""

from __future__ import annotations

import re

_NEUTRAL = re.compile(
    r"^(no|not|un|none)[-_ ]?(bad|fail\w*|error\w*|suspect\w*|reject\w*|invalid|wrong|applied|checked|eval\w*|"
    r"test\w*|qc\w*|quality\w*|control\w*|assess\w*|known|perform\w*|used|applicable|estimate|measure\w*|available)|(bad|fail\w*|error|fault)[-_]?free"
)
_FAILED = re.compile(
    r"fail|bad|err(or|oneous)|wrong|reject|invalid|incorrect|corrupt|unusable|malfunction|broken|missing|no_?data|absent|"
    r"implausible|unrealistic|impossible|(?<!uncertainty)[-_]not[-_]in[-_]range|unreliable|"
    r"^not?[-_](good|passed|valid|ok|usable|trusted)"
)
_TESTS = re.compile(r"spike|stuck|flat_?line|saturat|out[-_]of[-_]range|offscale")
_SUSPECT = re.compile(
    r"suspe|suspic|question|doubt|dubious|uncertain(?!ty)|uncertainty[-_]not|indeterminate|inconsistent|high_interest|estimated|interpolat|"
    r"gap[-_]?fill|filled|modelled|modeled|changed|below_detection|in_excess|caution|marginal"
)
_GOOD = re.compile(
    r"good|pass|^ok|_ok$|valid|correct|nominal|normal|accept|clean|best|optimal|in[-_]range|unknown|^no_"
)


def classify_meaning(meaning: str) -> str | None:
    """``"good"``, ``"suspect"`` or ``"failed"`` by the words of a meaning; None if they are not understood."""
    word = meaning.casefold()
    if _NEUTRAL.search(word):
        return "good"
    for kind, pattern in (("failed", _FAILED), ("suspect", _SUSPECT), ("failed", _TESTS), ("good", _GOOD)):
        if pattern.search(word):
            return kind
    return None
