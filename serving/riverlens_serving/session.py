"""A graph behind a TF1 session, run the way TensorFlow Serving runs it: `DirectSession::Run`.

TensorFlow Serving answers with the TF1 runtime, so every text about dtypes, shapes and kernels is whatever
DirectSession says. Only a v1 Session gives the same ones; `signatures[...]` of a TF2 load words them
otherwise, and the public `Session.run` casts dtypes silently and checks static shapes, which TensorFlow
Serving never does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from riverlens_serving.metrics import Metrics
from riverlens_serving.status import Code, ServingError, invalid
from riverlens_serving.tensors import Array


class Session(Protocol):
    """One loaded graph. Safe to call from many threads."""

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int) -> list[Array]:
        """Feed tensors by name, fetch tensors by name, in the order of `fetches`.

        `timeout_ms <= 0` means none, as for `RunOptions.timeout_in_ms`.

        Raises:
            ServingError: with TensorFlow's code and text.
        """

    def data_type(self, tensor_name: str) -> int:
        """The DataType of a tensor in the graph."""

    def close(self) -> None:
        """Free the graph. Callers still inside `run` would get CANCELLED: close when none is left."""


def as_array(value: Any) -> Array:
    """A fetched value as an array. Scalars come back bare; numpy would cut trailing zeros off bare bytes."""
    if isinstance(value, bytes):
        array = np.empty((), object)
        array[()] = value
        return array
    return np.asarray(value)


def serving_error(error: Exception) -> ServingError:
    """TensorFlow's failure as the status that TensorFlow Serving would send."""
    if isinstance(error, tf.errors.OpError):
        return ServingError(Code(error.error_code), error.message)
    if isinstance(error, UnicodeDecodeError):
        # A C++ text that quotes raw bytes cannot become a Python str; its bytes are in the exception.
        return invalid(bytes(error.object).decode("utf-8", "replace"))
    return ServingError(Code.UNKNOWN, str(error) or type(error).__name__)


class DirectSession:
    """`TF_SessionRun_wrapper`: private to TensorFlow, identical to what TensorFlow Serving calls."""

    def __init__(self, session: Any) -> None:
        from tensorflow.python.client import pywrap_tf_session  # noqa: PLC0415  # private: may be missing

        self._c_api = pywrap_tf_session
        self._session = session
        session._extend_graph()  # noqa: SLF001  # hands the imported graph to the C++ session once
        self._handle = session._session  # noqa: SLF001  # the C++ session
        self._known: dict[str, tuple[Any, int]] = {}

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int) -> list[Array]:
        """See `Session.run`. Feeds go in the order of their names: `arg[i]` of error texts counts so."""
        by_output = {self._feed(name): feeds[name] for name in sorted(feeds)}
        wanted = [self._fetch(name) for name in fetches]
        options = self._options(timeout_ms)
        try:
            values = self._c_api.TF_SessionRun_wrapper(self._handle, options, by_output, wanted, [], None)
        except (tf.errors.OpError, UnicodeDecodeError) as error:
            raise serving_error(error) from error
        finally:
            if options is not None:
                # Nobody else frees it: 80 bytes for each call with a deadline.
                self._c_api.TF_DeleteBuffer(options)
        return [as_array(value) for value in values]

    def data_type(self, tensor_name: str) -> int:
        """See `Session.data_type`."""
        return self._element(tensor_name)[1]

    def close(self) -> None:
        """See `Session.close`."""
        self._session.close()

    def _options(self, timeout_ms: int) -> Any:
        if timeout_ms <= 0:
            return None
        options = tf.compat.v1.RunOptions(timeout_in_ms=timeout_ms)
        return self._c_api.TF_NewBufferFromString(options.SerializeToString())

    def _feed(self, name: str) -> Any:
        try:
            return self._output(name)
        except (KeyError, ValueError) as error:
            raise ServingError(Code.NOT_FOUND, f"FeedInputs: unable to find feed output {name}") from error

    def _fetch(self, name: str) -> Any:
        try:
            return self._output(name)
        except (KeyError, ValueError) as error:
            raise self._no_output(name) from error

    def _no_output(self, name: str) -> ServingError:
        try:
            operation = self._session.graph.get_operation_by_name(name.partition(":")[0])
        except KeyError:
            return ServingError(Code.NOT_FOUND, f"FetchOutputs node {name}: not found")
        # As TF2's `__saved_model_init_op`, listed as a signature: an operation that has no outputs.
        count = len(operation.outputs)
        return invalid(f"FetchOutputs {name}: output index too large, must be < {count}")

    def _output(self, name: str) -> Any:
        return self._element(name)[0]

    def _element(self, name: str) -> tuple[Any, int]:
        """A tensor's key in the C API and its DataType, looked up in the Python graph once."""
        known = self._known.get(name)
        if known is None:
            element = self._session.graph.as_graph_element(name, allow_operation=False)
            data_type = int(element.dtype.base_dtype.as_datatype_enum)
            known = self._known[name] = element._as_tf_output(), data_type  # noqa: SLF001  # the C API's key
        return known


class PublicSession:
    """The public `Session.run`, for a TensorFlow that lacks the private call.

    Codes are the same; texts differ where Python sees a wrong shape before the kernel does.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int) -> list[Array]:
        """See `Session.run`. The dtype is checked here, because `Session.run` would cast."""
        graph = self._session.graph
        try:
            for position, name in enumerate(sorted(feeds)):
                want = graph.as_graph_element(name).dtype.base_dtype
                got = tf.dtypes.as_dtype(feeds[name].dtype)
                if want != got:
                    raise invalid(
                        f"Expects arg[{position}] to be {_c_name(want)} but {_c_name(got)} is provided"
                    )
            options = tf.compat.v1.RunOptions(timeout_in_ms=max(timeout_ms, 0))
            return [as_array(value) for value in self._session.run(list(fetches), dict(feeds), options)]
        except (KeyError, ValueError, TypeError) as error:
            raise invalid(str(error)) from error
        except tf.errors.OpError as error:
            raise serving_error(error) from error

    def data_type(self, tensor_name: str) -> int:
        """See `Session.data_type`."""
        return int(self._session.graph.as_graph_element(tensor_name).dtype.base_dtype.as_datatype_enum)

    def close(self) -> None:
        """See `Session.close`."""
        self._session.close()


class CountedSession:
    """A session that counts its runs."""

    def __init__(self, session: Session, metrics: Metrics) -> None:
        self._session = session
        self._metrics = metrics

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int) -> list[Array]:
        """See `Session.run`."""
        started = time.perf_counter()
        outputs = self._session.run(feeds, fetches, timeout_ms)
        self._metrics.graph_run((time.perf_counter() - started) * 1e6)
        return outputs

    def data_type(self, tensor_name: str) -> int:
        """See `Session.data_type`."""
        return self._session.data_type(tensor_name)

    def close(self) -> None:
        """See `Session.close`."""
        self._session.close()


def _c_name(dtype: Any) -> str:
    """The name in C++ texts: `float`, not `float32`."""
    name = str(dtype.name)
    return {"float32": "float", "float64": "double", "float16": "half"}.get(name, name)


def open_session(session: Any) -> Session:
    """The faithful session where this TensorFlow has it, else the public one."""
    try:
        return DirectSession(session)
    except (ImportError, AttributeError):
        return PublicSession(session)
