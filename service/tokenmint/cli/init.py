"""`tokenmint init`."""

import os
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from tokenmint.base.errors import ConfigurationError
from tokenmint.cli.output import Output, print_json
from tokenmint.model.secret import Secret
from tokenmint.process.new_secrets import new_encryption_key, new_secret, write_private

TEMPLATE = """\
# tokenmint. `tokenmint config check` checks this file, `tokenmint serve` runs on it, SIGHUP reloads it.
# The environment can set every key too: TOKENMINT_REDIS__URL is redis.url.

# The `iss` of tokens: the URL under which verifiers reach /.well-known/jwks.json.
{issuer}

# The directory of the private Valkey. With redis.url the service uses yours instead.
data_dir = ".tokenmint"

[redis]
# url = "rediss://redis.internal:6379/0"      # also unix://, redis+sentinel://, redis+cluster://
# password_file = "/run/secrets/redis"

[listen]
grpc = "127.0.0.1:7443"    # exchanges
admin = "127.0.0.1:7444"   # operators
http = "127.0.0.1:8080"    # the key set
ops = "127.0.0.1:9464"     # health, readiness, metrics
# cert_file = "tls.crt"    # required beyond loopback, or plaintext = true behind a mesh
# key_file = "tls.key"

[keys]
# Seals the signing keys. In production keep it apart from the store, and back it up: no other key opens them.
encryption_key_file = "{encryption_key_file}"
algorithms = ["ES256"]

# --- providers: their tokens are accepted ------------------------------------------------------------------------
{catalogue}
# Any other OpenID provider: issuer and audiences.

[providers.google]
use = "google"
audiences = ["{placeholder}.apps.googleusercontent.com"]

# --- audiences: tokens are minted for them -----------------------------------------------------------------------

[audiences."https://api.example.com"]
clients = ["{client}"]
providers = ["google"]
scopes = ["read", "write"]
lifetime = "10m"
# For an identity without a profile: deny, without (no enrichment), or create.
on_missing_profile = "deny"

[audiences."https://api.example.com".claims]
email = "assertion.email"
roles = "profile.roles"
# tenant = "profile.claims.tenant"

# --- callers -----------------------------------------------------------------------------------------------------

[clients.{client}]
secrets = ["sha256:{client_hash}"]

[operators.{operator}]
secrets = ["sha256:{operator_hash}"]
roles = ["viewer", "operator", "security"]
"""


def command(
    config: Annotated[Path, typer.Option(help="The file to write; it is never overwritten.")] = Path("tokenmint.toml"),
    issuer: Annotated[
        str | None, typer.Option(help="The https URL under which verifiers will reach the key set.")
    ] = None,
    client: Annotated[str, typer.Option(help="The id of the first client.")] = "web",
    operator: Annotated[str, typer.Option(help="The id of the first operator.")] = "admin",
    secret_files: Annotated[
        bool,
        typer.Option("--secret-files", help="Write the secrets to ID.secret beside the file, and do not print them."),
    ] = False,
    output: Output = "text",
) -> None:
    """Write a first configuration, a key-encryption key, and secrets for a first client and operator.

    The secrets are printed once, or written to files; the configuration holds their hashes.

    Then replace CHANGE-ME by your client id at the provider and run `tokenmint serve`.
    """
    from tokenmint.config.document import PLACEHOLDER
    from tokenmint.config.entries import catalogue

    key_file = config.with_name("tokenmint.kek")
    if secret_files and client == operator:
        raise ConfigurationError(
            "--client, --operator: are the same, so their secrets would share a file: choose different names"
        )
    files = {name: config.with_name(f"{name}.secret") for name in (client, operator)} if secret_files else {}
    for path in (config, key_file, *files.values()):
        if path.exists():
            raise ConfigurationError(
                f"{path}: exists and is not overwritten: choose another with --config, or remove it"
            )
    client_secret, operator_secret = new_secret(os.urandom), new_secret(os.urandom)
    text = TEMPLATE.format(
        issuer=f'issuer = "{issuer}"' if issuer else '# issuer = "https://tokens.example.com"',
        encryption_key_file=key_file.name,
        catalogue=_comment(f"Shipped: {', '.join(catalogue())}."),
        placeholder=PLACEHOLDER,
        client=client,
        operator=operator,
        client_hash=client_secret.fingerprint(),
        operator_hash=operator_secret.fingerprint(),
    )
    write_private(key_file, new_encryption_key(os.urandom) + "\n")
    write_private(config, text)
    callers = {
        "client": _given_out(client, client_secret, files.get(client)),
        "operator": _given_out(operator, operator_secret, files.get(operator)),
    }
    if output == "json":
        print_json({"file": str(config), "encryption_key_file": str(key_file), **callers})
        return
    print(f"wrote {config} and {key_file} (readable only by you)")
    for kind, caller in callers.items():
        shown = f" in {caller['secret_file']}" if "secret_file" in caller else f", shown once: {caller['secret']}"
        print(f"{kind:<8} {caller['id']:<10} secret{shown}")
    print(
        f"next: replace {PLACEHOLDER} in {config} by your client id, then `tokenmint config check`, `tokenmint serve`"
    )


def _given_out(name: str, secret: Secret, file: Path | None) -> dict[str, str]:
    """Write a caller's secret to ``file``, if there is one; return the id and the place of the secret."""
    if file is None:
        return {"id": name, "secret": secret.reveal()}
    write_private(file, secret.reveal() + "\n")
    return {"id": name, "secret_file": str(file)}


def _comment(text: str) -> str:
    return textwrap.fill(text, 115, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
