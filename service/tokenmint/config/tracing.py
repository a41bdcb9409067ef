"""The rules of `[tracing]`: endpoint, files, and the variables of OpenTelemetry where the table asks for them.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote

from tokenmint.base import extras
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.base.key_path import key_path
from tokenmint.base.tls_files import CA_FILE
from tokenmint.config.tracing_table import TracingTable
from tokenmint.model.secret import Secret
from tokenmint.tracing.options import TracingOptions, is_own

_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_PROTOCOLS: Final[Mapping[str, Literal["grpc", "http/protobuf"]]] = {"grpc": "grpc", "http/protobuf": "http/protobuf"}
_ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9_.-]{0,127}")
MAX_ATTRIBUTES: Final = 32
MAX_VALUE: Final = 256
LONGEST: Final = 60.0  # seconds of a timeout, as in the table
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,8190}[\x21-\x7e])?")
_OWN: Final = frozenset({"service.name", "service.version", "service.instance.id"})


def tracing_options(
    table: TracingTable, base: Path, environ: Mapping[str, str], problems: list[str]
) -> TracingOptions | None:
    """Return the settings of traces; None without an endpoint. Add the problems of the table to ``problems``."""
    variables = _Variables(environ if table.environment else {}, problems)
    endpoint, setting = table.endpoint, "tracing.endpoint"
    if endpoint is None:
        endpoint, setting = variables.endpoint()
    if endpoint is None:
        problems += _without_endpoint(table)
        return None
    protocol = table.protocol or variables.protocol()
    url = _endpoint(endpoint, setting, protocol, table, problems)
    if not extras.is_installed("otel"):
        problems.append(f"{setting}: {extras.missing('otel')}")
    headers_file = base / table.headers_file if table.headers_file else None
    resource = {**variables.resource(), **table.resource}
    problems += _problems_of_resource(resource)
    if url is None:
        return None
    ca_file = base / table.ca_file if table.ca_file else variables.ca_file()
    if ca_file is not None and url.scheme == "http":
        problems.append(f"tracing.{CA_FILE}: is for TLS, and the endpoint has none: expected https://, or no {CA_FILE}")
        ca_file = None
    options = TracingOptions(
        endpoint=url,
        protocol=protocol,
        headers=variables.headers(),
        headers_file=headers_file,
        ca_file=ca_file,
        ratio=table.ratio,
        calls_per_second=table.calls_per_second,
        queue_spans=table.queue_spans,
        batch_spans=table.batch_spans,
        interval=table.interval,
        timeout=table.timeout or variables.timeout() or 10.0,
        service_name=table.service_name or variables.service_name(resource),
        resource=tuple(sorted((name, value) for name, value in resource.items() if name not in _OWN)),
        providers=table.providers,
    )
    problems += _problems_of_files(options)
    return options


def _without_endpoint(table: TracingTable) -> Iterator[str]:
    for name in sorted(table.model_fields_set - {"environment", "endpoint"}):
        yield f"tracing.{name}: has no effect without tracing.endpoint: set that, or leave {name} out"


def _endpoint(text: str, setting: str, protocol: str, table: TracingTable, problems: list[str]) -> HttpUrl | None:
    try:
        url = HttpUrl.parse(text)
    except BadUrl as error:
        problems.append(f"{setting}: {error}")
        return None
    if url.scheme == "http" and not url.is_loopback and not table.plaintext:
        problems.append(
            f"{setting}: expected https (http on loopback only): spans would go unencrypted; where a mesh encrypts "
            "them, set tracing.plaintext = true"
        )
    if protocol == "grpc" and url.target != "/":
        problems.append(f"{setting}: expected a URL without a path for grpc, for example https://collector:4317")
    if protocol != "grpc" and url.target == "/":
        return HttpUrl(url.scheme, url.host, url.port, "/v1/traces")
    return url


def _problems_of_resource(resource: Mapping[str, str]) -> Iterator[str]:
    if len(resource) > MAX_ATTRIBUTES:
        yield f"tracing.resource: expected {MAX_ATTRIBUTES} attributes at most"
        return
    for name, value in resource.items():
        if not _ATTRIBUTE.fullmatch(name) or len(value) > MAX_VALUE or not value.isprintable():
            yield (
                f"{key_path('tracing', 'resource', name)}: expected a name of small letters, digits, dots and "
                f"underscores, and a printable text of at most {MAX_VALUE} characters"
            )


def _problems_of_files(options: TracingOptions) -> Iterator[str]:
    if options.headers_file is None and options.ca_file is None:
        return
    from tokenmint.tracing.collectors import collector_of  # gRPC, where it is needed

    try:
        collector_of(options)
    except ConfigurationError as error:
        yield from error.problems


class _Variables:
    """The variables of OpenTelemetry. Empty ones are as good as missing, as the specification says."""

    def __init__(self, environ: Mapping[str, str], problems: list[str]) -> None:
        self._environ = environ
        self._problems = problems

    def _of(self, name: str) -> tuple[str | None, str]:
        """Return the variable for traces, or that for all signals, and its name."""
        for variable in (f"{_PREFIX}TRACES_{name}", f"{_PREFIX}{name}"):
            if self._environ.get(variable):
                return self._environ[variable], variable
        return None, ""

    def endpoint(self) -> tuple[str | None, str]:
        """Return the endpoint and its variable. That for all signals is a base over HTTP."""
        value, variable = self._of("ENDPOINT")
        if value is not None and variable == f"{_PREFIX}ENDPOINT" and self.protocol() != "grpc":
            value = value.rstrip("/") + "/v1/traces"
        return value, variable

    def protocol(self) -> Literal["grpc", "http/protobuf"]:
        """Return the protocol."""
        value, variable = self._of("PROTOCOL")
        if value is None:
            return "grpc"
        if value not in _PROTOCOLS:
            self._problem(f'{variable}: expected "grpc" or "http/protobuf"')
        return _PROTOCOLS.get(value, "grpc")

    def ca_file(self) -> Path | None:
        """Return the file of authorities."""
        value, _ = self._of("CERTIFICATE")
        return Path(value) if value else None

    def timeout(self) -> float | None:
        """Return the time for an export: the variable has milliseconds."""
        value, variable = self._of("TIMEOUT")
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or not 100 <= int(value[:9]) <= LONGEST * 1000:
            self._problem(f"{variable}: expected milliseconds, 100 to {LONGEST * 1000:.0f}")
            return None
        return int(value) / 1000

    def headers(self) -> tuple[tuple[str, Secret], ...]:
        """Return the headers: `name=value`, percent-encoded and separated by commas."""
        value, variable = self._of("HEADERS")
        found = []
        for name, text in _pairs(value or ""):
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(text) or is_own(name.lower()):
                self._problem(
                    f"{variable}: expected name=value, with commas between, percent-encoded ASCII, and no header that "
                    "the transport sets"
                )
                return ()
            found.append((name.lower(), Secret(text)))
        return tuple(found[:MAX_ATTRIBUTES])

    def resource(self) -> dict[str, str]:
        """Return the attributes of the resource."""
        return dict(_pairs(self._environ.get("OTEL_RESOURCE_ATTRIBUTES", "")))

    def service_name(self, resource: Mapping[str, str]) -> str:
        """Return the name of the service."""
        name = self._environ.get("OTEL_SERVICE_NAME") or resource.get("service.name") or "tokenmint"
        return name[:128]

    def _problem(self, text: str) -> None:
        if text not in self._problems:
            self._problems.append(text)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return the members of a list as in W3C Baggage, decoded."""
    pairs = (member.partition("=") for member in text.split(",") if member.strip())
    return [(unquote(name.strip()), unquote(value.strip())) for name, _, value in pairs]
