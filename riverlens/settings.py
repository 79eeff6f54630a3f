"""Settings: a TOML file, then the environment, then flags; one frozen object per role.

`riverlens.toml` holds a table per role (`[worker]`, `[producer]`, ...) and `[kafka]` for all of them.
The environment variable of a field is `RIVERLENS_<FIELD>`; of one in a table within,
`RIVERLENS_KAFKA__BOOTSTRAP_SERVERS`. The flag is `--max-batch-size`, `--kafka.bootstrap-servers`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import tomli_w
from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from riverlens.errors import SettingsError
from riverlens.flags import Parser, nearest, read_flags
from riverlens.logs import set_up_logs
from riverlens.variables import PREFIX, strays

_TABLES_WITHIN = frozenset({"kafka"})

_log = logging.getLogger(__name__)


class Settings(BaseSettings):
    """Base of every role's settings: frozen, unknown names refused, built once by `load`.

    A subclass names its table of the TOML file in `table`; its docstring heads `--help`; each field's
    description is its help. Constructed directly (tests, programs), only the arguments count.
    """

    table: ClassVar[str]
    short_flags: ClassVar[Mapping[str, str]] = {"--bootstrap-servers": "--kafka.bootstrap-servers"}
    """What people type, and the flag it stands for."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
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

    def contradictions(self) -> list[str]:
        """A line for each rule over several settings that these break; the line names the settings."""
        return []

    def unusable(self) -> list[str]:
        """A line for each setting that names something outside, a file say, that cannot be used.

        Only `load` asks: an object made in a program is made without looking around.
        """
        return []

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        lines = self.contradictions()
        if lines:
            raise _ContradictionError(self, lines)
        return self


S = TypeVar("S", bound=Settings)


class _ContradictionError(ValueError):
    def __init__(self, settings: Settings, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.settings, self.lines = settings, lines


def complaints(*checks: Callable[[], object]) -> list[str]:
    """The texts of the SettingsErrors that these calls raise, for `Settings.unusable`."""
    lines = []
    for check in checks:
        try:
            check()
        except SettingsError as error:
            lines.append(str(error))
    return lines


def load(cls: type[S], argv: Sequence[str], *, prog: str) -> S:
    """Build `cls` from `--config FILE`, the environment and `argv`, in rising precedence.

    `--print-config` prints the result as TOML, secrets masked, and exits with 0; `--help` likewise.

    Raises:
        SettingsError: a line for every wrong field, with the names that set it; or an unreadable file.
    """
    own = Parser(prog=prog, add_help=False, allow_abbrev=False)
    own.add_argument("--config", type=Path, metavar="FILE")
    own.add_argument("--print-config", action="store_true")
    known, rest = own.parse_known_args(argv)
    values: dict[str, Any] = _read_toml(cls, known.config) if known.config else {}
    try:
        # An empty variable is an unset one: `RIVERLENS_LABELS: ${LABELS:-}` of a compose file.
        values = _merge(values, EnvSettingsSource(cls, env_ignore_empty=True)())
        flags = read_flags(cls, rest, prog=prog, table=cls.table, short=cls.short_flags)
    except SourceError as error:
        # Its cause names the text that was given, which may hold a password.
        raise SettingsError(f"{error}: a table is given as JSON, or each of its fields by itself") from None
    values = _merge(values, flags)
    prefix = str(cls.model_config["env_prefix"])
    odd = strays(cls, cls.table, prefix, os.environ)
    settings, lines = _build(cls, values, prefix)
    lines += [f"{name}: no such variable; {meant} is probably meant" for name, meant in odd.mistyped.items()]
    if lines or settings is None:
        raise SettingsError("\n".join(lines))
    if known.print_config:
        sys.stdout.write(to_toml(settings))
        raise SystemExit(0)
    if odd.unread:
        _warn(settings, odd.unread)
    return settings


def _warn(settings: Settings, unread: Mapping[str, str | None]) -> None:
    # What follows may be read by a machine, so this has the same form.
    set_up_logs(getattr(settings, "log_level", "info"), getattr(settings, "log_format", "text"))
    for name, meant in unread.items():
        _log.warning("%s: no part of riverlens reads this variable%s", name, f"; {meant}?" if meant else "")


def _build(cls: type[S], values: dict[str, Any], prefix: str) -> tuple[S | None, list[str]]:
    """The settings, and a line for all that is wrong with them.

    Rules over several settings are only asked of whole objects: a wrong field is left at its default and the
    rest asked again, less what is said of that field.
    """
    lines: list[str] = []
    wrong: set[str] = set()
    while True:
        try:
            settings = cls(**values)
        except ValidationError as error:
            details = error.errors()
            cause = details[0].get("ctx", {}).get("error")
            if isinstance(cause, _ContradictionError) and isinstance(cause.settings, cls):
                settings = cause.settings
                lines += _not_about(wrong, cause.lines)
            else:
                lines += _not_about(wrong, [_explain(one, cls, prefix) for one in details])
                paths = [_path(one) for one in details]
                less = _without(values, paths)
                if less == values:
                    return None, lines
                values = less
                wrong |= {path[-1] for path in paths}
                continue
        return settings, lines + _not_about(wrong, settings.unusable())


def _path(wrong: ErrorDetails) -> tuple[str, ...]:
    """The setting's name, within its table; what lies deeper is a part of its value."""
    loc = [str(part) for part in wrong["loc"]]
    return tuple(loc[:2] if loc[0] in _TABLES_WITHIN else loc[:1])


def _without(values: Mapping[str, Any], paths: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    left = dict(values)
    for name, *within in paths:
        if within and isinstance(left.get(name), Mapping):
            left[name] = {key: value for key, value in left[name].items() if key != within[0]}
        else:
            left.pop(name, None)
    return left


def _not_about(wrong: set[str], lines: Iterable[str]) -> list[str]:
    return [line for line in lines if not wrong & set(re.findall(r"\w+", line))]


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
        if nearest(name, [cls.table, "kafka"]):
            raise SettingsError(f"--config {path}: no role reads [{name}]; [{cls.table}] or [kafka] is meant")
    values: dict[str, Any] = tables.get(cls.table, {})
    if "kafka" in cls.model_fields and "kafka" in tables:
        values = {**values, "kafka": tables["kafka"]}
    return values


def _explain(wrong: ErrorDetails, cls: type[Settings], prefix: str) -> str:
    path, message = _path(wrong), wrong["msg"].removeprefix("Value error, ")
    name = ".".join(path)
    if name in _TABLES_WITHIN:
        return message  # a rule over several settings: its text names them
    fields = cls.model_fields
    for table in path[:-1]:
        within = fields[table].annotation
        fields = within.model_fields if isinstance(within, type) and issubclass(within, BaseModel) else {}
    if wrong["type"] == "extra_forbidden":
        meant = nearest(path[-1], fields)
        message = "no such setting" + (f", perhaps {meant}" if meant else "")
    elif wrong["type"] == "string_pattern_mismatch":
        message = f"not of this form: {fields[path[-1]].description}"
    given = wrong.get("input")
    # Under a mistyped name there may be a password.
    hidden = isinstance(given, dict) or wrong["type"] == "extra_forbidden" or _is_secret(name)
    shown = "" if hidden else f" (given: {given!r})"
    flag = "--" + name.replace("_", "-")
    return f"{name}: {message}{shown}; set by {flag} or {prefix}{name.replace('.', '__').upper()}"


def _is_secret(name: str) -> bool:
    return any(word in name for word in ("password", "secret", "token", "users"))
