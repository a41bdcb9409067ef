"""The table `[tracing]`, the variables of OpenTelemetry, and the extra."""

from pathlib import Path

import pytest

from tokenmint.base import extras
from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.tracing.options import TracingOptions


def loaded(directory: Path, text: str, **environ: str) -> TracingOptions | None:
    (directory / "tokenmint.toml").write_text(f'data_dir = "data"\n[tracing]\n{text}')
    return load(directory / "tokenmint.toml", environ).tracing


def problems(directory: Path, text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as error:
        loaded(directory, text, **environ)
    return tuple(error.value.problems)


def test_without_an_endpoint_there_are_no_traces_whatever_the_environment_says(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") is None
    assert loaded(tmp_path, "", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317") is None
    (problem,) = problems(tmp_path, "ratio = 0.5")
    assert problem.startswith("tracing.ratio: has no effect without tracing.endpoint")


def test_an_endpoint_is_enough(tmp_path: Path) -> None:
    found = loaded(tmp_path, 'endpoint = "https://collector.example:4317"')
    assert found is not None
    assert (str(found.endpoint), found.protocol, found.ratio) == ("https://collector.example:4317/", "grpc", 0.1)
    found = loaded(tmp_path, 'endpoint = "https://collector.example:4318"\nprotocol = "http/protobuf"')
    assert found is not None
    assert str(found.endpoint) == "https://collector.example:4318/v1/traces"


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ('endpoint = "http://collector:4317"', "tracing.endpoint: expected https (http on loopback only)"),
        ('endpoint = "collector:4317"', "tracing.endpoint: expected a URL that begins with https://"),
        ('endpoint = "https://user:secret@collector"', "tracing.endpoint: a URL with a user or a password"),
        ('endpoint = "https://collector/path"', "tracing.endpoint: expected a URL without a path for grpc"),
        ('endpoint = "http://127.0.0.1:1"\nca_file = "ca"', "tracing.ca_file: is for TLS"),
        ('endpoint = "https://c"\nca_file = "missing"', "tracing.ca_file: "),
        ('endpoint = "https://c"\nheaders_file = "missing"', "tracing.headers_file: "),
        ('endpoint = "https://c"\nratio = 2', "tracing.ratio: "),
        ('endpoint = "https://c"\n[tracing.resource]\n"A B" = "x"', 'tracing.resource."A B": expected a name'),
        ('endpoint = "https://c"\n[tracing.resource]\na = "\\u0000"', "tracing.resource.a: expected a name"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, text: str, begin: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(begin)
    assert "secret" not in problem


def test_plain_text_is_for_those_who_ask_for_it(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'endpoint = "http://collector:4317"\nplaintext = true') is not None


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda name: name != "otel")
    (problem,) = problems(tmp_path, 'endpoint = "https://c"')
    assert problem == ("tracing.endpoint: otel needs the package opentelemetry-proto: install tokenmint[otel] (line 3)")
    assert loaded(tmp_path, "") is None


def test_the_variables_count_where_the_table_says_so_and_behind_its_own_values(tmp_path: Path) -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://all.example:4318/base/",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=Bearer%20tms_x,X-Tenant=t",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        "OTEL_SERVICE_NAME": "mint",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod,service.version=9",
    }
    found = loaded(tmp_path, "environment = true", **variables)
    assert found is not None
    assert str(found.endpoint) == "https://all.example:4318/base/v1/traces"
    assert [(name, value.reveal()) for name, value in found.headers] == [
        ("authorization", "Bearer tms_x"), ("x-tenant", "t"),
    ]  # fmt: skip
    assert (found.timeout, found.service_name) == (2.5, "mint")
    assert found.resource == (("deployment.environment.name", "prod"),)
    assert "tms_x" not in repr(found)
    traces = {**variables, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces.example/at"}
    found = loaded(tmp_path, 'environment = true\nservice_name = "own"\ntimeout = "1s"', **traces)
    assert found is not None
    assert (str(found.endpoint), found.service_name, found.timeout) == ("https://traces.example/at", "own", 1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "9" * 5000),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=tms_secret%0a"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "content-type=tms_secret"),
    ],
)
def test_a_variable_that_is_not_understood_is_named_without_its_value(tmp_path: Path, name: str, value: str) -> None:
    (problem,) = problems(tmp_path, 'endpoint = "https://c"\nenvironment = true', **{name: value})
    assert problem.startswith(f"{name}: expected ")
    assert value not in problem
