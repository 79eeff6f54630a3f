"""Settings: a TOML file, then the environment, then flags; one frozen object per role.

`riverlens.toml` holds a table per role (`[worker]`, `[producer]`, ...) and `[kafka]` for all of them.
The environment variable of a field is `RIVERLENS_<FIELD>`; of one in a table within,
`RIVERLENS_KAFKA__BOOTSTRAP_SERVERS`. The flag is `--max-batch-size`, `--kafka.bootstrap-servers`.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self, TypeVar

import tomli_w
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from riverlens.errors import SettingsError

_SHORT_FLAGS = {"--bootstrap-servers": "--kafka.bootstrap-servers"}
_ENV_PREFIX = "RIVERLENS_"
_TABLES_WITHIN = frozenset({"kafka"})
_UNKNOWN = "unrecognized arguments: "


class Settings(BaseSettings):
    """Base of every role's settings: frozen, unknown names refused, built once by `load`.

    A subclass names its table of the TOML file in `table`; its docstring heads `--help`; each field's
    description is its help. Constructed directly (tests, programs), only the arguments count.
    """

    table: ClassVar[str]

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=_ENV_PREFIX,
        env_nested_delimiter="__",
        use_attribute_docstrings=True,
        validate_default=True,
    )

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # the sources we leave out stay in `_`
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # named by the library
        init_settings: PydanticBaseSettingsSource,
        **_: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments alone: `load` has merged the sources already."""
        return (init_settings,)

    @classmethod
    def default(cls) -> Self:
        """All defaults, whatever the environment says."""
        return cls()


S = TypeVar("S", bound=Settings)


def load(cls: type[S], argv: Sequence[str], *, prog: str) -> S:
    """Build `cls` from `--config FILE`, the environment and `argv`, in rising precedence.

    `--print-config` prints the result as TOML, secrets masked, and exits with 0; `--help` likewise.

    Raises:
        SettingsError: a line for every wrong field, with the names that set it; or an unreadable file.
    """
    own = _Parser(prog=prog, add_help=False, allow_abbrev=False)
    own.add_argument("--config", type=Path, metavar="FILE")
    own.add_argument("--print-config", action="store_true")
    known, rest = own.parse_known_args(argv)
    values: dict[str, Any] = _read_toml(cls, known.config) if known.config else {}
    try:
        # An empty variable is an unset one: `RIVERLENS_LABELS: ${LABELS:-}` of a compose file.
        for source in (EnvSettingsSource(cls, env_ignore_empty=True)(), _read_flags(cls, rest, prog)):
            values = _merge(values, source)
        settings = cls(**values)
    except SourceError as error:
        # Its cause names the text that was given, which may hold a password.
        raise SettingsError(f"{error}: a table is given as JSON, or each of its fields by itself") from None
    except ValidationError as error:
        raise SettingsError(_explain(error, str(cls.model_config.get("env_prefix", _ENV_PREFIX)))) from None
    if known.print_config:
        sys.stdout.write(to_toml(settings))
        raise SystemExit(0)
    return settings


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` over `low`, tables within merged in the same way."""
    merged = dict(low)
    for name, value in high.items():
        below = merged.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[name] = _merge(below, value)
        else:
            merged[name] = value
    return merged


def to_toml(settings: Settings) -> str:
    """The settings as the TOML file that would give them; secrets as asterisks, unset ones left out."""
    values = settings.model_dump(mode="json", exclude_none=True)
    shared = {name: values.pop(name) for name in ("kafka",) if name in values}
    return tomli_w.dumps({settings.table: values, **shared})


def _read_flags(cls: type[Settings], argv: Sequence[str], prog: str) -> dict[str, Any]:
    parser = _Parser(prog=prog, description=cls.__doc__, allow_abbrev=False, formatter_class=_HelpFormatter)
    parser.add_argument("--config", metavar="FILE", help=f"TOML file with tables [{cls.table}] and [kafka]")
    parser.add_argument("--print-config", action="store_true", help="print the settings as TOML and exit")
    source = CliSettingsSource[Any](
        cls,
        cli_prog_name=prog,
        root_parser=parser,
        cli_parse_args=[_long_flag(word) for word in argv],
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        parse_args_method=argparse.ArgumentParser.parse_args,
    )
    return dict(source())


def _long_flag(word: str) -> str:
    name, equals, value = word.partition("=")
    return _SHORT_FLAGS.get(name, name) + equals + value


class _Parser(argparse.ArgumentParser):
    """Wrong flags are wrong settings: one line, not the whole usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # argparse knows `-1` as a value but takes `-1..1` for a flag.
        self._negative_number_matcher = re.compile(r"^-\d")

    def error(self, message: str) -> NoReturn:
        head, unknown, words = message.partition(_UNKNOWN)
        if unknown:
            # The value of a mistyped flag may be a password: name the flags alone.
            flags = [word.partition("=")[0] for word in words.split() if word.startswith("-")]
            message = head + unknown + (" ".join(flags) or words)
        raise SettingsError(f"{message}; see {self.prog} --help")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Flags in one column, their text in the next."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=36, width=110)

    def _expand_help(self, action: argparse.Action) -> str:
        # The text of an optional setting says what "unset" means.
        return super()._expand_help(action).removesuffix("(default: None)").rstrip()


def _read_toml(cls: type[Settings], path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config {path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {path}: not TOML: {error}") from None
    stray = [name for name, value in tables.items() if not isinstance(value, dict)]
    if stray:
        raise SettingsError(
            f"--config {path}: {', '.join(stray)} must stand in a table, such as [{cls.table}]"
        )
    for name in tables.keys() - {cls.table, "kafka"}:
        # Other roles' tables are theirs; a near miss of ours would silently count for nothing.
        if get_close_matches(name, [cls.table, "kafka"], cutoff=0.8):
            raise SettingsError(f"--config {path}: no role reads [{name}]; [{cls.table}] or [kafka] is meant")
    values: dict[str, Any] = tables.get(cls.table, {})
    if "kafka" in cls.model_fields and "kafka" in tables:
        values = {**values, "kafka": tables["kafka"]}
    return values


def _explain(error: ValidationError, prefix: str) -> str:
    lines = []
    for wrong in error.errors():
        name = ".".join(str(part) for part in wrong["loc"])
        if not name or name in _TABLES_WITHIN:
            # A rule over several settings: its text names them.
            lines.append(wrong["msg"].removeprefix("Value error, "))
            continue
        flag = "--" + name.replace("_", "-")
        variable = prefix + name.replace(".", "__").upper()
        given = wrong.get("input")
        unknown = wrong["type"] == "extra_forbidden"  # perhaps a password under a mistyped name
        shown = "" if isinstance(given, dict) or unknown or _is_secret(name) else f" (given: {given!r})"
        message = "no such setting" if unknown else wrong["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message}{shown}; set by {flag} or {variable}")
    return "\n".join(lines)


def _is_secret(name: str) -> bool:
    return any(word in name for word in ("password", "secret", "token"))
