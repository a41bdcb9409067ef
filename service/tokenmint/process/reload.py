"""The reload: replaces providers, audiences, clients and operators while calls continue."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

import structlog

from tokenmint.base.background import Unit
from tokenmint.base.errors import ConfigurationError, TokenmintError
from tokenmint.base.tasks import ENDING, end
from tokenmint.base.threads import Busy, Threads
from tokenmint.config import changes
from tokenmint.config.settings import Settings
from tokenmint.formats.format import Format
from tokenmint.formats.jwt_grant import FORMAT as JWT_GRANTS
from tokenmint.formats.spiffe import FORMAT as SVIDS
from tokenmint.model.drafts import OF_TYPE, STATUS_LIST
from tokenmint.model.tokens import JWT_GRANT
from tokenmint.process.rules import Rules, authenticator_of, files_of, policy_of, rate_limits
from tokenmint.process.wiring import Parts
from tokenmint.signals.poller import Poller, follow_polls
from tokenmint.verification.fetch import HttpFetch
from tokenmint.verification.provider import Provider

log = structlog.get_logger(__name__)

READ_LIMIT: Final = 10.0  # seconds for a new configuration to be read and judged
HUNG: Final = 4  # readings that may not have ended at a time


class ReloadRequests:
    """Reads and judges the configuration on each request, and has it applied while calls continue.

    Files may be on a disk that hangs, so they are read in separate threads. A reading that takes too long is given up,
    and does not block later ones.

    Args:
        load: reads and judges. Raises ``ConfigurationError``.
        take_over: takes a configuration over. Raises ``ConfigurationError``.
        running: the configuration that the service started with.
        unit: is told of failures.
        facts: further fields of the event of a reload.
        limit: seconds for one reading.
    """

    def __init__(
        self,
        load: Callable[[], Settings],
        take_over: Callable[[Settings], Awaitable[None]],
        running: Settings,
        unit: Unit,
        *,
        facts: Mapping[str, object] = MappingProxyType({}),
        limit: float = READ_LIMIT,
    ) -> None:
        self._load = load
        self._take_over = take_over
        self._started_with = self._running = running
        self._unit = unit
        self._facts = facts
        self._limit = limit
        self._threads = Threads("reload", HUNG)
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = False

    def request(self) -> None:
        """Begin a reload, unless one waits for its turn: that one reads the files at its turn."""
        if not self._waiting:
            self._waiting = True
            task = asyncio.get_running_loop().create_task(self._reload())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        async with self._one_at_a_time:
            self._waiting = False
            try:
                changed = await self._read()
                await self._take_over(changed)
                applied = changes.between(self._running, changed, started_with=self._started_with)
                log.info("configuration reloaded", **self._facts, **applied)
                self._running = changed
                self._unit.works()
            except ENDING:
                raise
            except BaseException as error:  # noqa: BLE001  # after any failure, the running one stays
                problems = error.message if isinstance(error, TokenmintError) else type(error).__name__
                log.error("configuration not reloaded: the running one stays", problems=problems)  # noqa: TRY400
                self._unit.fails(error)

    async def _read(self) -> Settings:
        try:
            async with asyncio.timeout(self._limit):
                return await self._threads.run(self._load)
        except TimeoutError:
            raise ConfigurationError(
                f"the configuration was not read within {self._limit:g} s: does the disk of one of its files hang? "
                "Then reload once more"
            ) from None
        except Busy:
            raise ConfigurationError(
                f"{HUNG} readings of the configuration have not ended: the disk of one of its files hangs"
            ) from None


class Reloads:
    """Applies new configurations, one at a time, and keeps the tasks of the current providers running."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._running = parts.base.settings
        self._one_at_a_time = asyncio.Lock()
        self.following: list[asyncio.Task[None]] = []
        """The tasks that keep keys of providers and clients fresh, and poll for signals."""

    def follow_keys(self) -> None:
        """Keep the keys of providers and clients fresh, and poll for providers' signals, in the background."""
        background, rules = self._parts.base.background, self._parts.rules
        self.following = [
            *rules.exchange.verifier.key_sets.follow(background, "keys of"),
            *rules.authenticator.assertions.key_sets.follow(background, "keys of client"),
            *self._polls(),
        ]

    def _polls(self) -> list[asyncio.Task[None]]:
        parts = self._parts
        base, fetch = parts.base, HttpFetch()  # whose files are those of the transmitters
        holder = base.entropy(8).hex()

        def poller(provider: Provider) -> Poller:
            return Poller(provider, parts.signals, fetch.send, parts.store, base.clock, holder)

        return follow_polls(parts.rules.exchange.verifier.providers.values(), base.background, poller)

    async def take_over(self, settings: Settings) -> None:
        """Replace providers, audiences, clients and operators; other changes need a restart.

        Raises:
            ConfigurationError: the new configuration can't be applied; the current one stays.
        """
        async with self._one_at_a_time:
            if _serves(self._running) and not _serves(settings):  # a disk that was full leaves an empty file
                raise ConfigurationError(
                    "it has no providers, audiences, clients and operators at all: was the file emptied by mistake? "
                    "Write it again and reload; to remove all of them, restart the service"
                )
            rules = rules_of(self._parts, settings)
            self._parts.rules.replace(rules)
            self._running = settings
            self._parts.limiter.limits = rate_limits(settings)
            self._parts.forwarded.proxy_hashes = settings.proxy_hashes
            await end(self.following)
            self.follow_keys()


def _serves(settings: Settings) -> bool:
    return bool(settings.providers or settings.audiences or settings.clients or settings.operators)


def _uses(settings: Settings, kind: str) -> bool:
    """Return whether a provider or an audience has tokens of a kind."""
    accepted = (provider.token_types for provider in settings.providers.values())
    minted = (audience.format.token_types for audience in settings.audiences.values())
    if kind == JWT_GRANT and _mints(settings, JWT_GRANTS):  # requested as a JWT
        return True
    return any(kind in kinds for kinds in (*accepted, *minted))


def _mints(settings: Settings, form: Format) -> bool:
    """Return whether an audience has tokens of a format."""
    return any(audience.format.name == form.traits.name for audience in settings.audiences.values())


def rules_of(parts: Parts, settings: Settings) -> Rules:
    """Return the rules of a new configuration, with the keys that are already loaded. Raises ``ConfigurationError``."""
    if settings.schedule.max_lifetime > parts.signing_keys.schedule.max_lifetime:
        raise ConfigurationError(
            "audiences: a max_lifetime is longer than all of those at the start of the service: published keys "
            "would be withdrawn before the tokens they signed expire; restart the service"
        )
    for kind, draft in OF_TYPE.items():
        if draft not in parts.base.settings.oauth.drafts and _uses(settings, kind):
            raise ConfigurationError(
                f"oauth.drafts: {draft} was off at the start of the service, and a provider or an audience needs it: "
                "restart the service"
            )
    if parts.status is None and any(audience.status_list for audience in settings.audiences.values()):
        raise ConfigurationError(
            f"oauth.drafts: {STATUS_LIST} was off at the start of the service, and an audience has status_list: "
            "restart the service"
        )
    if settings.spiffe != parts.base.settings.spiffe and _mints(settings, SVIDS):
        raise ConfigurationError(
            "spiffe.trust_domain: differs from the start of the service, and an audience has JWT-SVIDs: restart the "
            "service"
        )
    before = parts.rules
    policy = policy_of(parts.base, settings)
    verifier = parts.verifiers.of(settings.providers, before.exchange.verifier.key_sets)
    exchange = before.exchange.under(verifier, policy)
    authenticator = authenticator_of(parts.verifiers, settings, exchange, before.authenticator)
    return Rules(exchange, authenticator, files_of(settings), settings.places)
