"""What an audience mints, who may act, and what its tokens are bound to: from its table to the policy's types."""

import base64
import binascii
import json
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tokenmint.base.files import read_bytes, read_text
from tokenmint.base.key_path import key_path
from tokenmint.config.suggestions import no_such_table
from tokenmint.config.tables import AppServiceTable, AudienceTable, File, FirebaseTable
from tokenmint.formats.app_service import OWN_CLAIMS
from tokenmint.formats.firebase import LIFETIME
from tokenmint.model.firebase import FirebaseProject
from tokenmint.model.policy import ActorRules, AppServiceFormat, FirebaseFormat, Format, ReferenceFormat
from tokenmint.model.secret import Secret, shown

FORMATS: Final = ("firebase", "app_service", "reference")
MIN_HMAC_KEY: Final = 32  # bytes, RFC 7518 section 3.2
_JWT_ONLY: Final = ("algorithm", "token_type")
_UNBOUND_ONLY: Final = ("bound", "actors", "scopes")


class AudienceRules:
    """Reads the parts of an audience's table that belong together, collecting what is wrong on the way.

    Args:
        name: the audience.
        table: its table.
        file: the whole file.
        base: what relative paths start at.
        development: whether this is for `serve --dev`.
    """

    def __init__(self, name: str, table: AudienceTable, file: File, base: Path, *, development: bool) -> None:
        self.name = name
        self.problems: list[str] = []
        self._table = table
        self._file = file
        self._base = base
        self._development = development
        for unknown in sorted(table.reexchange_from - file.audiences.keys()):
            self._problem("reexchange_from", no_such_table("audiences", unknown, file.audiences))
        for source in sorted(table.reexchange_from & file.audiences.keys()):
            other = file.audiences[source]
            if other.firebase is not None or other.app_service is not None:
                self._problem("reexchange_from", f"the tokens of {source} never come back to tokenmint")
        asked = (
            file.listen.client_ca_file
            or file.listen.forwarded
            or (file.listen.http_client_ca_file and file.oauth.enabled)
        )
        if table.bound in ("mtls", "any") and not asked:
            self._problem("bound", f"{table.bound!r} needs listen.client_ca_file: callers have to show certificates "
                          "(or http_client_ca_file with [oauth], or [listen.forwarded])")  # fmt: skip

    def _problem(self, key: str, text: str) -> None:
        self.problems.append(f"{key_path('audiences', self.name)}.{key}: {text}")

    def lifetimes(self) -> tuple[int, int]:
        """Return the default and the longest lifetime in seconds."""
        table = self._table
        if table.firebase is not None:
            for key in ("lifetime", "max_lifetime"):
                if key in table.model_fields_set and getattr(table, key) != LIFETIME:
                    self._problem(key, "Firebase custom tokens live 1 h, no more and no less: leave it out")
            return LIFETIME, LIFETIME
        return int(table.lifetime), int(table.max_lifetime or max(3600.0, table.lifetime))

    def reuse_window(self) -> int:
        """Return for how many seconds a token is given out again."""
        table = self._table
        formats = [name for name in ("firebase", "app_service", "reference") if getattr(table, name) is not None]
        if table.reuse_window and formats:
            self._problem(
                "reuse_window", f"only JWTs are given out again, and [{formats[0]}] mints others: leave it out"
            )
        if table.reuse_window and table.single_use:
            self._problem("reuse_window", "contradicts single_use, where each exchange is to be one of its own")
        if table.reuse_window % 1:
            self._problem("reuse_window", "is counted in whole seconds")
        return int(table.reuse_window)

    def actors(self) -> ActorRules | None:
        """Return who may act."""
        table = self._table.actors
        if table is None:
            return None
        for provider in sorted(table.providers - self._file.providers.keys()):
            self._problem("actors.providers", no_such_table("providers", provider, self._file.providers))
        for audience in sorted(table.audiences - self._file.audiences.keys()):
            self._problem("actors.audiences", no_such_table("audiences", audience, self._file.audiences))
        if not table.providers and not table.audiences:
            self._problem("actors.providers", "is required, or audiences: whose tokens prove an actor")
        return ActorRules(table.providers, table.audiences, table.impersonation, table.without_may_act)

    def format(self) -> Format | None:
        """Return what is minted; None: a JWT."""
        table = self._table
        named = [key for key in FORMATS if getattr(table, key) is not None]
        if not named:
            return None
        if len(named) > 1:
            self._problem(named[1], f"one kind of token for an audience: remove one of {', '.join(named)}")
        for key in _JWT_ONLY + (() if named[0] == "reference" else _UNBOUND_ONLY):
            if key in table.model_fields_set:
                self._problem(key, f"tokens of the kind {named[0]} have none: leave it out")
        if table.firebase is not None:
            return self._firebase(table.firebase)
        if table.app_service is not None:
            return self._app_service(table.app_service)
        idle = table.reference.idle if table.reference is not None else None
        if idle is not None and idle > self.lifetimes()[1]:
            self._problem("reference.idle", "is longer than max_lifetime")
        return ReferenceFormat(int(idle) if idle is not None else None)

    # --- parts ---------------------------------------------------------------------------------------------------

    def _firebase(self, table: FirebaseTable) -> FirebaseFormat:
        if table.service_account_file and table.service_account:
            self._problem("firebase.service_account", "a key that stays with Google, or service_account_file: not both")
        if not table.service_account_file and not table.service_account and not self._development:
            self._problem(
                "firebase.service_account_file", "is required, or service_account (an e-mail address; IAM signs for it)"
            )
        if self._table.on_missing_profile != "deny" and table.uid == "profile.principal":
            self._problem(
                "firebase.uid", 'a principal without a profile is no user of Firebase: on_missing_profile = "deny", or '
                "another uid"
            )  # fmt: skip
        if table.uid.startswith("assertion") and len(self._table.providers) + len(self._table.reexchange_from) != 1:
            self._problem("firebase.uid", "is only unique within one provider: allow one, and no reexchange_from")
        credentials = None
        if table.service_account_file:
            credentials, problem = service_account(self._base / table.service_account_file, table.project)
            if problem:
                self._problem("firebase.service_account_file", problem)
        return FirebaseFormat(
            FirebaseProject(table.project, credentials, table.service_account), table.tenant, table.uid
        )

    def _app_service(self, table: AppServiceTable) -> AppServiceFormat:
        if not self.name.startswith("https://"):
            self._problem("app_service", "the audience is the URL of the site, and begins with https://")
        for claim in sorted(OWN_CLAIMS & self._table.claims.keys()):
            self._problem(f"claims.{claim}", "is a claim of App Service's own: choose another")
        path = self._base / table.key_file
        try:
            text = read_text(path).strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a text file"
            self._problem("app_service.key_file", f"{shown(path)} can't be read ({why})")
            return AppServiceFormat(Secret(""))
        key = _decoded(text, table.key_encoding)
        if "-----BEGIN" in text:
            self._problem(
                "app_service.key_file", "is a PEM file: what is due is the site's secret, which nobody else has"
            )
        elif key is None:
            self._problem("app_service.key_file", f"is not {table.key_encoding}: see key_encoding")
        elif len(key) < MIN_HMAC_KEY:
            self._problem(
                "app_service.key_file",
                f"has {len(key)} bytes as {table.key_encoding}, and HS256 takes {MIN_HMAC_KEY} at least "
                "(RFC 7518 section 3.2): see key_encoding",
            )
        return AppServiceFormat(Secret(key or b""))


def service_account(path: Path, project: str) -> tuple[Secret | None, str]:
    """Read a service account with its key; return it, or what is wrong with it. No text of the file is shown."""
    try:
        raw = read_bytes(path)
    except OSError as error:
        return None, f"{shown(path)} can't be read ({error.strerror})"
    try:
        account: Any = json.loads(raw)
        if account["type"] != "service_account" or not all(
            isinstance(account[key], str) for key in ("project_id", "client_email", "private_key", "token_uri")
        ):
            raise TypeError
        key = load_pem_private_key(account["private_key"].encode(), None)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, f"{path} is not a service account with its key (JSON), as Google's console writes it"
    if not isinstance(key, rsa.RSAPrivateKey):
        return None, f"{path}: the key is not an RSA key"
    if account["project_id"] != project:
        return None, f"{path} is of another project than {project!r}"
    return Secret(raw), ""


def _decoded(text: str, encoding: str) -> bytes | None:
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return text.encode()
