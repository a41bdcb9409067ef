"""The fast way of the configuration in force: one object for each configuration, made at its first call."""

from tokenmint.fast.exchange import FastExchange, Service
from tokenmint.process.wiring import Parts


class FastWayInForce:
    """Returns the fast way of the rules in force; after a reload that is a new one, with empty caches.

    Args:
        parts: the parts of the service.
    """

    def __init__(self, parts: Parts) -> None:
        self._rules = parts.rules
        self._service = Service(parts.near, parts.limiter, parts.audit, parts.base.metrics, parts.base.clock)
        self._made = self._make()

    def __call__(self) -> FastExchange:
        """Return the fast way for calls that begin now."""
        if self._exchange is not self._rules.exchange or self._authenticator is not self._rules.authenticator:
            self._made = self._make()
        return self._made

    def _make(self) -> FastExchange:
        self._exchange, self._authenticator = self._rules.exchange, self._rules.authenticator
        return FastExchange(self._exchange, self._authenticator.callers.clients, self._service)
