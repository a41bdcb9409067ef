"""The formats, actors and bindings of audiences: from their tables to the policy's types."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from tokenmint.base.key_path import key_path
from tokenmint.config.suggestions import did_you_mean, no_such_table
from tokenmint.config.tables import ActorsTable, AudienceTable, File
from tokenmint.formats.format import Format, Reading
from tokenmint.formats.table import Formats, without_table
from tokenmint.model.drafts import STATUS_LIST
from tokenmint.model.policy import ActorRules, Audience
from tokenmint.model.proxies import Proxy


class AudienceRules:
    """Reads the parts of an audience's table that depend on each other, and collects their problems.

    Args:
        name: the audience.
        table: its table.
        file: the whole file.
        base: the directory of relative paths.
        formats: the existing formats, by name.
        development: whether this is for `serve --dev`.
        proxy: the proxy of `[proxy]`.
    """

    def __init__(
        self,
        name: str,
        table: AudienceTable,
        file: File,
        base: Path,
        formats: Formats,
        *,
        development: bool,
        proxy: Proxy | None = None,
    ) -> None:
        self.name = name
        self.problems: list[str] = []
        self._table = table
        self._file = file
        self._base = base
        self._formats = formats
        self._development = development
        self._proxy = proxy
        self.form = self._chosen()
        for unknown in sorted(table.reexchange_from - file.audiences.keys()):
            self._problem("reexchange_from", no_such_table("audiences", unknown, file.audiences))
        for source in sorted(table.reexchange_from & file.audiences.keys()):
            other = file.audiences[source]
            if any(_table(other, form) is not None and not form.comes_back for form in formats.values()):
                self._problem("reexchange_from", f"the tokens of {source} never return to tokenmint")
            if source != name and any(
                _table(other, form) is not None and form.stays_at_its_audience for form in formats.values()
            ):
                self._problem("reexchange_from", f"the tokens of {source} are exchanged for others of {source} alone")
        asked = (
            file.listen.client_ca_file
            or file.listen.forwarded
            or (file.listen.http_client_ca_file and file.oauth.enabled)
        )
        if table.bound in ("mtls", "any") and not asked:
            self._problem("bound", f"{table.bound!r} needs listen.client_ca_file: callers have to present certificates "
                          "(or http_client_ca_file with [oauth], or [listen.forwarded])")  # fmt: skip

    def _problem(self, key: str, text: str) -> None:
        self.problems.append(f"{key_path('audiences', self.name)}.{key}: {text}")

    def lifetimes(self) -> tuple[int, int]:
        """Return the default and the longest lifetime in seconds."""
        table, fixed = self._table, self.form.traits.fixed_lifetime
        if fixed is not None:
            for key in ("lifetime", "max_lifetime"):
                if key in table.model_fields_set and getattr(table, key) != fixed:
                    text = f"{self.form.traits.title} live {_in_words(fixed)}, exactly: leave it out"
                    self._problem(key, text)
            return fixed, fixed
        return int(table.lifetime), int(table.max_lifetime or max(3600.0, table.lifetime))

    def reuse_window(self) -> int:
        """Return the seconds within which the same request gets the same token again."""
        table = self._table
        if table.reuse_window and not self.form.traits.reusable:
            name = self.form.traits.name
            self._problem("reuse_window", f"only JWTs are reused, and [{name}] mints others: leave it out")
        if table.reuse_window and table.single_use:
            self._problem("reuse_window", "contradicts single_use, which gives each exchange its own token")
        if table.reuse_window % 1:
            self._problem("reuse_window", "expected a whole number of seconds")
        return int(table.reuse_window)

    def gateway_cache(self) -> int:
        """Return for how many seconds a gateway may keep an answer."""
        if self._table.gateway_cache % 1:
            self._problem("gateway_cache", "expected a whole number of seconds")
        return int(self._table.gateway_cache)

    def status_list(self) -> bool:
        """Return whether its tokens are in a status list."""
        if not self._table.status_list:
            return False
        if STATUS_LIST not in self._file.oauth.drafts:
            self._problem("status_list", f"needs oauth.drafts to have {STATUS_LIST}")
        if self.form.table is not None:
            name = self.form.traits.name
            self._problem("status_list", f"only JWTs are in status lists, and [{name}] mints others: leave it out")
        if "status" in self._table.claims:
            self._problem("claims.status", "contradicts status_list, which writes this claim")
        return True

    def actors(self) -> ActorRules | None:
        """Return the rules for actors."""
        table = self._table.actors
        if table is None:
            return None
        for provider in sorted(table.providers - self._file.providers.keys()):
            self._problem("actors.providers", no_such_table("providers", provider, self._file.providers))
        for audience in sorted(table.audiences - self._file.audiences.keys()):
            self._problem("actors.audiences", no_such_table("audiences", audience, self._file.audiences))
        if not table.providers and not table.audiences and not self._table.reexchange_from:
            text = "is required, or audiences (their tokens authenticate an actor), or the audience's reexchange_from"
            self._problem("actors.providers", text)
        self._check_sources_of_scopes(table)
        by_actor = table.scopes_by_actor
        for actor, scopes in (by_actor or {}).items():
            path = key_path("actors", "scopes_by_actor", actor)
            for unknown in sorted(scopes - self._table.scopes):
                self._problem(path, f"the audience has no scope {unknown!r}{did_you_mean(unknown, self._table.scopes)}")
            if not actor:
                self._problem(path, "expected the principal of an actor")
        return ActorRules(
            table.providers,
            table.audiences,
            table.impersonation,
            table.without_may_act,
            intersection=table.scopes == "intersection",
            subject_scopes=table.subject_scopes,
            actor_scopes=table.actor_scopes,
            scopes_by_actor=MappingProxyType(dict(by_actor)) if by_actor is not None else None,
        )

    def _check_sources_of_scopes(self, table: ActorsTable) -> None:
        """Report a source that would have no effect: actors would get more scopes than the file seems to say."""
        for key in sorted({"subject_scopes", "actor_scopes"} & table.model_fields_set):
            if table.scopes != "intersection":
                self._problem(f"actors.{key}", 'is used only with scopes = "intersection": set that, or leave it out')
            elif key == "actor_scopes" and table.scopes_by_actor is not None:
                self._problem(f"actors.{key}", "scopes_by_actor counts instead: leave one of the two out")

    def formatted(self, audience: Audience) -> Audience:
        """Return ``audience`` with the format of its table."""
        for key in self._no_place():
            if key in self._table.model_fields_set:
                self._problem(key, f"tokens of the kind {self.form.traits.name} have none: leave it out")
        table = self._table if self.form.table is None else _table(self._table, self.form)
        reading = Reading(
            self._base,
            self._development,
            self._file.oauth.drafts,
            self._file.spiffe.trust_domain,
            self._problem,
            self._proxy,
        )
        return replace(audience, format=self.form.configure(table, audience, reading))

    def _chosen(self) -> Format:
        named = [form for form in self._formats.values() if _table(self._table, form) is not None]
        if len(named) > 1:
            names = [form.traits.name for form in named]
            self._problem(names[1], f"an audience has one kind of token: remove one of {', '.join(names)}")
        return named[0] if named else without_table(self._formats)

    def _no_place(self) -> list[str]:
        """Return the keys of the table whose content the format's tokens can't hold."""
        traits = self.form.traits
        places = {
            "algorithm": traits.signed_by_ring,
            "token_type": self.form.table is None,
            "bound": traits.carries_binding,
            "actors": traits.carries_actor,
            "scopes": traits.carries_scopes,
        }
        return [key for key, has_place in places.items() if not has_place]


def _table(audience: AudienceTable, form: Format) -> object:
    return getattr(audience, form.traits.name) if form.table is not None else None


def _in_words(seconds: int) -> str:
    return f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds} s"
