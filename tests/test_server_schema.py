"""What the service says of itself in OpenAPI is how it behaves, also towards requests that nobody would think of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from bundles import write_waveform_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving import Service, served

from emovox.server.keys import KeyRing

ROUTES = (
    ("POST", "/v1/predict"),
    ("POST", "/v1/timeline"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}.onnx"),
    ("GET", "/v1/colours"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    path: Path = write_waveform_bundle(tmp_path_factory.mktemp("model") / "loudness.onnx")
    keys = KeyRing(path.parent / "keys.json")
    key = keys.create("test")
    with served(models=(str(path),), require_keys=True, keys_file=keys.path) as service:
        service.client.headers["Authorization"] = f"Bearer {key}"
        yield service


@pytest.fixture(scope="module")
def description(running: Service) -> schemathesis.schemas.BaseSchema:
    return schemathesis.openapi.from_url(f"{running.url}/openapi.json")


def test_where_no_key_is_needed_none_is_described(tmp_path: Path) -> None:
    path = write_waveform_bundle(tmp_path / "loudness.onnx")
    with served(models=(str(path),)) as service:
        text = service.client.get("/openapi.json").text
    assert "security" not in text


def test_all_routes_are_here(running: Service) -> None:
    paths = running.client.get("/openapi.json").json()["paths"]
    assert {(method.upper(), path) for path in paths for method in paths[path]} == set(ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((method, path, GenerationMode.POSITIVE) for method, path in ROUTES),
        *((method, path, GenerationMode.NEGATIVE) for method, path in ROUTES[:2]),  # the others take no parameters
    ],
)
def test_requests_from_the_description(
    running: Service, description: schemathesis.schemas.BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    strategy = description[path][method].as_strategy(generation_mode=mode)

    @given(data=st.data())
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(data: st.DataObject) -> None:
        case = data.draw(strategy)
        headers = {"Authorization": running.client.headers["authorization"]}
        # A body may be what the description says and still be no recording.
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

    check()
    assert running.alive()
