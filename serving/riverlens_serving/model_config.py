"""`--model_config_file`: several models, each with its base path, version policy and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from riverlens.errors import SettingsError
from riverlens_serving.config import Model
from riverlens_serving.text_proto import read_model_server_config
from riverlens_serving.versions import All, Latest, Policy, Specific


def read(path: Path) -> tuple[Model, ...]:
    """The models of a ModelServerConfig text file.

    Raises:
        SettingsError: unreadable, not such a text, or a line for each thing wrong with a model.
    """
    try:
        return from_message(read_model_server_config(path))
    except ValueError as error:
        raise SettingsError(
            "\n".join(f"--model_config_file: {path}: {problem}" for problem in str(error).splitlines())
        ) from error


def from_message(message: Any) -> tuple[Model, ...]:
    """The models of a ModelServerConfig.

    Raises:
        ValueError: a line for each thing wrong with a model.
    """
    configs = message.model_config_list.config
    problems = [] if configs else ["no model_config_list with a config"]
    names = [config.name for config in configs]
    for config in configs:
        label = f"model '{config.name}'"
        if not config.name or names.count(config.name) > 1:
            problems.append(f"{label}: each model needs a name of its own")
        if config.model_platform != "tensorflow":
            problems.append(
                f"{label}: model_platform: 'tensorflow' is required; was '{config.model_platform}'"
            )
        if not Path(config.base_path).is_absolute():
            problems.append(f"{label}: base_path must be absolute; was '{config.base_path}'")
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(
        Model(c.name, Path(c.base_path), _policy(c.model_version_policy), dict(c.version_labels))
        for c in configs
    )


def _policy(message: Any) -> Policy:
    match message.WhichOneof("policy_choice"):
        case "all":
            return All()
        case "specific":
            return Specific(frozenset(message.specific.versions))
        case _:
            return Latest(message.latest.num_versions or 1)
