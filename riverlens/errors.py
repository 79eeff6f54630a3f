"""Errors that a person reads.

    RiverlensError            exit code 1
    +-- SettingsError         exit code 2: a setting is wrong; every wrong one is named
    +-- SetupError            exit code 3: this machine lacks something (Java, Maven, a free port)
    +-- UnreachableError      exit code 4: Kafka or the model server does not answer

Each message is one line: what failed, what was tried, which setting or command mends it. The command
line prints the message and exits with the class's `exit_code`; a traceback is for defects only.
"""

from __future__ import annotations

from typing import ClassVar


class RiverlensError(Exception):
    """A failure with one clear line for a person. Message: what, what was tried, the remedy."""

    exit_code: ClassVar[int] = 1


class SettingsError(RiverlensError):
    """One or more settings are wrong; the message has a line for each."""

    exit_code: ClassVar[int] = 2


class SetupError(RiverlensError):
    """This machine lacks something the command needs."""

    exit_code: ClassVar[int] = 3


class UnreachableError(RiverlensError):
    """Kafka or the model server does not answer, or answers that it will not serve us."""

    exit_code: ClassVar[int] = 4
