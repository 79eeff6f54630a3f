"""The flags of a settings class: read into values, and explained by `--help`."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from pydantic_settings import BaseSettings, CliSettingsSource

from riverlens.errors import SettingsError

_UNKNOWN = "unrecognized arguments: "
_WORDS = {
    "str": "TEXT",
    "int": "N",
    "float": "NUMBER",
    "Path": "PATH",
    "SecretStr": "PASSWORD",
    "tuple[str,...]": "TEXT",
    "tuple[Zone,...]": "JSON",
    "dict[str,SecretStr]": "JSON",
}
"""What `--help` calls a value, by the type that pydantic-settings would name."""


def read_flags(
    cls: type[BaseSettings], argv: Sequence[str], *, prog: str, table: str, short: Mapping[str, str]
) -> dict[str, Any]:
    """The values that `argv` sets. `short` maps flags that people type to those they stand for.

    `--help` prints and exits with 0.

    Raises:
        SettingsError: a flag that does not exist, or one without its value.
    """
    parser = Parser(
        prog=prog,
        description=inspect.cleandoc(cls.__doc__ or ""),
        allow_abbrev=False,
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", help=f"TOML file with tables [{table}] and [kafka]")
    parser.add_argument("--print-config", action="store_true", help="print the settings as TOML and exit")
    source = CliSettingsSource[Any](
        cls,
        cli_prog_name=prog,
        root_parser=parser,
        cli_parse_args=[_spelt_out(word, short) for word in argv],
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        parse_args_method=argparse.ArgumentParser.parse_args,
        add_argument_method=_add_argument,
    )
    return dict(source())


def nearest(name: str, names: Collection[str]) -> str | None:
    """The one of `names` that a person who wrote `name` probably meant, or None."""
    found = get_close_matches(name, names, n=1, cutoff=0.8)
    begun = [each for each in names if each.startswith(name)]
    return found[0] if found else begun[0] if len(begun) == 1 else None


def _spelt_out(word: str, short: Mapping[str, str]) -> str:
    name, equals, value = word.partition("=")
    return short.get(name, name) + equals + value


def _add_argument(group: Any, *names: str, **options: Any) -> Any:
    """As argparse's; the value is named by a word that a person knows, not by its Python type."""
    if "metavar" in options:
        options["metavar"] = _WORDS.get(options["metavar"], options["metavar"])
    options["help"] = re.sub(r" \(default factory: \w+\)$", "", options.get("help") or "")
    return argparse.ArgumentParser.add_argument(group, *names, **options)


class Parser(argparse.ArgumentParser):
    """Wrong flags are wrong settings: one line, not the whole usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # argparse knows `-1` as a value but takes `-1..1` for a flag.
        self._negative_number_matcher = re.compile(r"^-\d")

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting.

        Raises:
            SettingsError: always, with the flags that were probably meant.
        """
        head, unknown, words = message.partition(_UNKNOWN)
        if unknown:
            # The value of a mistyped flag may be a password: name the flags alone.
            flags = [word.partition("=")[0] for word in words.split() if word.startswith("-")]
            meant = [found for flag in flags if (found := nearest(flag, self._option_string_actions))]
            message = head + unknown + (" ".join(flags) or words)
            message += f"; perhaps {' '.join(meant)}" if meant else ""
        raise SettingsError(f"{message}; see {self.prog} --help")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Flags in one column, their text in the next."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=36, width=110)

    def _expand_help(self, action: argparse.Action) -> str:
        # The text of an optional setting says what "unset" means.
        text = super()._expand_help(action)
        for nothing in ("(default: None)", "(default: ())"):
            text = text.removesuffix(nothing).rstrip()
        return text
