"""The wiring of traces: settings become a tracer and, if a collector is configured, an export."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from tokenmint.base import extras
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.renewed_files import RenewedFiles
from tokenmint.process.foundation import Foundation
from tokenmint.tracing.export import Export
from tokenmint.tracing.options import TracingOptions
from tokenmint.tracing.tracer import Tracer, sampler_of


@dataclass(frozen=True, slots=True)
class Tracing:
    """The parts of traces."""

    tracer: Tracer
    export: Export | None = None

    @property
    def files(self) -> Sequence[RenewedFiles[Any]]:
        """The files that the connection to the collector is made with."""
        return self.export.collector.files if self.export is not None else ()

    def follow(self, base: Foundation) -> None:
        """Send spans in the background, without end."""
        options = base.settings.tracing
        if self.export is not None and options is not None:
            self.export.follow(base.background, options.interval)


def tracing(base: Foundation, closing: contextlib.AsyncExitStack) -> Tracing:
    """Return the parts of traces; ``closing`` collects how they are closed.

    Raises:
        ConfigurationError: the extra is missing, or a file can't be used.
    """
    options = base.settings.tracing
    if options is None:
        return Tracing(Tracer(base.entropy, base.clock))
    export = _export(base, options)
    closing.push_async_callback(export.close)
    base.readiness.tell("tracing", lambda: export.problem)
    sampler = sampler_of(options.ratio, options.calls_per_second, base.entropy, base.clock)
    return Tracing(Tracer(base.entropy, base.clock, export, sampler), export)


def _export(base: Foundation, options: TracingOptions) -> Export:
    try:
        from tokenmint.tracing.otlp import Encoder  # the extra
    except ImportError:
        raise ConfigurationError(f"tracing.endpoint: {extras.missing('otel')}") from None
    from tokenmint.tracing.collectors import collector_of

    version = metadata.version("tokenmint")
    resource = dict(options.resource) | {
        "service.name": options.service_name,
        "service.version": version,
        "service.instance.id": base.entropy(16).hex(),
    }
    return Export(
        collector_of(options), Encoder(resource, version), most=options.queue_spans, batch=options.batch_spans
    )
