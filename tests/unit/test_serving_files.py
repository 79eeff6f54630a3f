"""The text files that the command line names, and texts that are cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from riverlens.errors import SettingsError
from riverlens_serving import batching_parameters, model_config
from riverlens_serving.batching_parameters import BatchingParameters
from riverlens_serving.config import Model
from riverlens_serving.status import cut
from riverlens_serving.versions import All, Latest, Specific


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.config"
    path.write_text(text)
    return path


def test_batching_parameters_are_read(tmp_path: Path) -> None:
    """Fields given win, others keep TensorFlow Serving's defaults; a queue of 0 batches becomes 1."""
    path = _written(
        tmp_path,
        "max_batch_size { value: 32 }  # rows\nbatch_timeout_micros { value: 500 }\n"
        "num_batch_threads { value: 1 }\nmax_enqueued_batches { value: 0 }\nthread_pool_name { value: 'p' }\n"
        "allowed_batch_sizes: 8\nallowed_batch_sizes: 32\npad_variable_length_inputs: true\n",
    )
    assert batching_parameters.read(path) == BatchingParameters(
        max_batch_size=32,
        batch_timeout_micros=500,
        max_enqueued_batches=1,
        num_batch_threads=1,
        thread_pool_name="p",
        allowed_batch_sizes=(8, 32),
        pad_variable_length_inputs=True,
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("max_batch { value: 1 }", "has no field named"),
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1; was 0"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be at least 1; was 0"),
        ("max_execution_batch_size { value: -1 }", "max_execution_batch_size must be at least 0; was -1"),
    ],
)
def test_wrong_batching_parameters_name_the_file(tmp_path: Path, text: str, problem: str) -> None:
    """A wrong file is told with its flag, its path and what is wrong."""
    path = _written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        batching_parameters.read(path)
    assert problem in str(caught.value)
    assert "--batching_parameters_file: " in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_containers_files_are_valid() -> None:
    """serving/gpu's files parse, and the last allowed size is the largest batch, or no model would load."""
    folder = Path(__file__).resolve().parents[2] / "serving" / "gpu"
    parameters = batching_parameters.read(folder / "batching.config")
    batching_parameters.check_for_load(parameters)
    assert (parameters.max_batch_size, parameters.batch_timeout_micros, parameters.num_batch_threads) == (
        32,
        0,
        1,
    )
    assert [model.name for model in model_config.read(folder / "models.config")] == ["street"]


def test_model_configs_are_read(tmp_path: Path) -> None:
    """Several models with their policies; latest 1 where none is given."""
    path = _written(
        tmp_path,
        """model_config_list {
          config { name: "a" base_path: "/a" model_platform: "tensorflow" }
          config { name: "b" base_path: "/b" model_platform: "tensorflow" model_version_policy { all {} } }
          config { name: "c" base_path: "/c" model_platform: "tensorflow"
                   model_version_policy { specific { versions: 1 versions: 3 } } }
          config { name: "e" base_path: "/e" model_platform: "tensorflow"
                   version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 } }
          config { name: "d" base_path: "/d" model_platform: "tensorflow"
                   model_version_policy { latest { num_versions: 2 } } } }""",
    )
    assert model_config.read(path) == (
        Model("a", Path("/a"), Latest(1)),
        Model("b", Path("/b"), All()),
        Model("c", Path("/c"), Specific(frozenset({1, 3}))),
        Model("e", Path("/e"), Latest(1), {"stable": 1, "canary": 2}),
        Model("d", Path("/d"), Latest(2)),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("improperly formatted file", "Invalid protobuf file"),
        ("", "no model_config_list"),
        (
            'model_config_list { config { name: "a" base_path: "/a" } }',
            "model_platform: 'tensorflow' is required",
        ),
        (
            'model_config_list { config { name: "a" base_path: "a" model_platform: "tensorflow" } }',
            "base_path must be absolute; was 'a'",
        ),
        (
            (
                'model_config_list { config { name: "a" base_path: "/a" model_platform: "tensorflow" }'
                ' config { name: "a" base_path: "/b" model_platform: "tensorflow" } }'
            ),
            "needs a name of its own",
        ),
    ],
)
def test_wrong_model_configs_say_which_model(tmp_path: Path, text: str, problem: str) -> None:
    """A wrong file is told with its flag and what is wrong about which model."""
    with pytest.raises(SettingsError, match="--model_config_file: ") as caught:
        model_config.read(_written(tmp_path, text))
    assert problem in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing file is a wrong setting, not a traceback."""
    with pytest.raises(SettingsError, match="cannot read"):
        model_config.read(tmp_path / "none")


@pytest.mark.parametrize("text", ["x" * 1024, "é" * 512])
def test_texts_up_to_1024_bytes_stay_whole(text: str) -> None:
    """The cut starts above 1024 bytes, and never leaves half a character."""
    assert cut(text) == text
    assert cut(text + "é") == text + "...TRUNCATED"
    assert cut("x" + "é" * 600) == "x" + "é" * 511 + "...TRUNCATED"
