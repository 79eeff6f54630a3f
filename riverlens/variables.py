"""Environment variables that begin with RIVERLENS_: whose they are, and which are probably mistyped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

from pydantic import BaseModel

from riverlens.flags import nearest

PREFIX = "RIVERLENS_"
ROLES = (
    ("riverlens_worker.settings", "WorkerSettings"),
    ("riverlens_worker.redrive.settings", "RedriveSettings"),
    ("riverlens_producer.settings", "ProducerSettings"),
    ("riverlens_wall.settings", "WallSettings"),
    ("riverlens.topics", "TopicsSettings"),
    ("riverlens.broker.run", "BrokerSettings"),
    ("riverlens.demo.settings", "DemoSettings"),
)
"""Module and class of every role's settings; imported only to tell whose an unknown variable is."""

_NO_SETTINGS = ("RIVERLENS_CACHE", "RIVERLENS_TESTDATA", "RIVERLENS_CONTRACT_")
# Kubernetes gives every pod such variables for a Service whose name begins with `riverlens`.
_SERVICE_NAME = re.compile(r"_SERVICE_(HOST|PORT(_.+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_.+)?$")
_SERVICE_VALUE = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True)
class Strays:
    """Variables that nobody reads, each with the name that is probably meant.

    Attributes:
        mistyped: near a setting of this role, which would silently keep its default.
        unread: near another role's setting, or near none (then None).
    """

    mistyped: dict[str, str]
    unread: dict[str, str | None]


def names(cls: type[BaseModel], prefix: str) -> Iterator[str]:
    """The variables that set the fields of `cls`, those of tables within it included."""
    for name, field in cls.model_fields.items():
        variable = prefix + name.upper()
        yield variable
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from names(field.annotation, variable + "__")


def strays(cls: type[BaseModel], table: str, prefix: str, environment: Mapping[str, str]) -> Strays:
    """What in `environment` begins with RIVERLENS_ and is no variable of `cls` nor of another role."""
    own = set(names(cls, prefix))
    given = [name for name, value in environment.items() if _concerns_us(name, value)]
    unknown = [name for name in given if name.upper() not in own and not _in_table(name.upper(), own)]
    mistyped: dict[str, str] = {}
    unread: dict[str, str | None] = {}
    # Other roles are imported only where somebody has to be asked.
    others = _names_of_all_roles() if unknown else set()
    for name in unknown:
        if name.upper() in others or _in_table(name.upper(), others):
            continue
        meant = _meant(name.upper(), table, own | others)
        if meant in own:
            mistyped[name] = meant
        else:
            unread[name] = meant
    return Strays(mistyped, unread)


def _concerns_us(name: str, value: str) -> bool:
    return (
        name.upper().startswith(PREFIX)
        and not name.upper().startswith(_NO_SETTINGS)
        and not _SERVICE_NAME.search(name)
        and not _SERVICE_VALUE.match(value)
    )


def _in_table(name: str, known: Iterable[str]) -> bool:
    """Whether it is a field of a table: a wrong one there is refused as any unknown field."""
    table, nested, _ = name.partition("__")
    return bool(nested) and table in known


def _meant(name: str, table: str, known: set[str]) -> str | None:
    # `[worker] model` of the file is RIVERLENS_MODEL here; RIVERLENS_WORKER_MODEL is what one expects.
    without_table = PREFIX + name.removeprefix(PREFIX).removeprefix(table.upper()).lstrip("_")
    if without_table in known:
        return without_table
    meant = nearest(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known])
    return PREFIX + meant if meant else None


def _names_of_all_roles() -> set[str]:
    found: set[str] = set()
    for module, name in ROLES:
        try:
            cls = getattr(import_module(module), name)
        except ModuleNotFoundError:
            continue  # a role that is not installed has no variables here
        found.update(names(cls, str(cls.model_config["env_prefix"])))
    return found
