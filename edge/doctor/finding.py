"""What was found on a machine, and how to mend it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

SENTENCE = re.compile(r"(.*)[:;] (.+)", re.DOTALL)
"""An error of this project: what is wrong, then how to mend it."""


class State(str, Enum):
    """How it stands with one thing."""

    OK = "ok"
    WARN = "warn"
    """A bin runs, and less well than it could."""
    FAIL = "fail"
    """A bin can't run, or what it was told to use does not work."""
    ABSENT = "absent"
    """Not there, and not needed here."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    """What was looked at, such as `tensorrt`: a name that stays. Several findings may share it."""
    state: State
    found: str
    """What is there, as a clause."""
    mend: str = ""
    """What to do about it; empty where nothing needs to be done."""


@dataclass(frozen=True)
class Area:
    """What was found in one part of the machine."""

    name: str
    findings: tuple[Finding, ...]


def ok(check: str, found: str) -> Finding:
    """Make a finding of what is well."""
    return Finding(check, State.OK, found)


def warn(check: str, found: str, mend: str) -> Finding:
    """Make a finding of what could be better."""
    return Finding(check, State.WARN, found, mend)


def fail(check: str, found: str, mend: str) -> Finding:
    """Make a finding of what keeps a bin from running."""
    return Finding(check, State.FAIL, found, mend)


def absent(check: str, found: str) -> Finding:
    """Make a finding of what is not there, and need not be."""
    return Finding(check, State.ABSENT, found)


def told(check: str, state: State, error: Exception, mend: str) -> Finding:
    """Make a finding of an error of ours, whose sentence may end in how to mend it; else `mend` says so."""
    said = SENTENCE.fullmatch(str(error))
    if said and " " in said[2]:
        return Finding(check, state, said[1], said[2])
    return Finding(check, state, str(error), mend)
