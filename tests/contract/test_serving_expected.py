"""What TensorFlow Serving's own tests expect of its test models, case by case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.client import Client, array, example, examples, floats, spec
from tests.contract.rest_client import RestClient
from tests.contract.rows import expectations

pytestmark = pytest.mark.realdata


def _cases(kind: str) -> list[Any]:
    """The cases, each under its row; one that skips where there is no real data."""
    cases = [
        pytest.param(case, id=str(number), marks=pytest.mark.row(f"{kind} {number}"))
        for number, case in enumerate(expectations()[kind])
    ]
    return cases or [pytest.param({}, id="no-real-data")]


@pytest.mark.parametrize("case", _cases("grpc"))
def test_grpc(client: Client, testdata: Path, case: dict[str, Any]) -> None:
    """The reply over gRPC is the expected one."""
    assert testdata.is_dir()
    model = spec(case.get("model", "default"), signature=case.get("signature", ""))
    match case["rpc"]:
        case "Predict":
            reply = client.predict(model, {"x": floats(*case["x"])})
            assert array(reply.outputs["y"]).tolist() == case["y"]
        case "Classify":
            result = client.classify(model, examples(example(**case["example"]))).result
            assert result.classifications[0].classes[0].score == case["score"]
        case "Regress":
            result = client.regress(model, examples(example(**case["example"]))).result
            assert result.regressions[0].value == case["value"]
        case "GetModelStatus":
            (version,) = client.status(spec("default", version=case["version"])).model_version_status
            assert (version.version, version.status.error_code) == (case["version"], case["error_code"])
        case other:
            pytest.fail(f"no test for {other}")


@pytest.mark.parametrize("case", _cases("rest"))
def test_rest(rest: RestClient, testdata: Path, case: dict[str, Any]) -> None:
    """The reply over HTTP is the expected one."""
    answer = rest.call(case["method"], case["path"], case.get("body"))
    assert answer.status == 200
    if "reply_file" in case:
        expected = json.loads((testdata / "tfserving-testdata" / case["reply_file"]).read_text())
    else:
        expected = case["reply"]
    assert answer.json == expected
