"""The configuration: one TOML file, the environment on top, every problem reported at once.

Secrets come by file path or environment only; a literal one in the file is refused.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from tokenmint.base.config_values import Table, problems_of
from tokenmint.base.errors import ConfigurationError
from tokenmint.config.check import Checker
from tokenmint.config.settings import Settings
from tokenmint.config.tables import File, file_table
from tokenmint.formats.table import Formats, shipped, tables

ENVIRONMENT_PREFIX: Final = "TOKENMINT_"
DEFAULT_FILE: Final = Path("tokenmint.toml")


def locate(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to load: the one that is named, `TOKENMINT_CONFIG`, or `./tokenmint.toml` where there is one."""
    if path is not None:
        return path
    if environ.get("TOKENMINT_CONFIG"):
        return Path(environ["TOKENMINT_CONFIG"])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load(
    path: Path | None, environ: Mapping[str, str], *, development: bool = False, formats: Formats | None = None
) -> Settings:
    """Read the configuration from ``path`` (None: no file) and the environment.

    ``formats`` are those that audiences may have; None: those that are shipped.

    Raises:
        ConfigurationError: lists every problem with the key's path and what to do.
    """
    formats = formats or shipped()
    document = _read(path) if path is not None else {}
    problems = _literal_secrets(document)
    problems += _apply_environment(document, environ)
    try:
        file = file_table(tables(formats)).model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(problems + problems_of(error)) from None
    checker = Checker(file, path.resolve().parent if path is not None else Path.cwd(), problems, formats)
    return checker.settings(environ, development=development)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(
            f"{path}: can't be read ({error.strerror}): `tokenmint init` writes a first configuration"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}") from None


def _literal_secrets(document: Mapping[str, Any]) -> list[str]:
    problems = []
    for section, key in (("redis", "password"), ("keys", "encryption_key")):
        table = document.get(section)
        if isinstance(table, dict) and key in table:
            problems.append(f"{section}.{key}: a secret has no place in the file: use {section}.{key}_file or "
                            f"{ENVIRONMENT_PREFIX}{section.upper()}__{key.upper()}")  # fmt: skip
    redis = document.get("redis")
    url = redis.get("url") if isinstance(redis, dict) else None
    if isinstance(url, str) and "@" in url and ":" in url.partition("://")[2].rpartition("@")[0]:
        problems.append("redis.url: a password has no place in the file: use redis.password_file")
    return problems


def _apply_environment(document: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Put `TOKENMINT_SECTION__KEY` and `TOKENMINT_KEY` into the document.

    Other `TOKENMINT_` names are left alone: an orchestrator makes some of its own for a service of this name.
    """
    problems = []
    for variable in sorted(environ):
        section, separator, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        if not _is_unicode(environ[variable]):
            problems.append(f"{variable}: is not valid UTF-8")
            continue
        if not separator:
            if section in ("issuer", "data_dir", "reflection", "channelz"):
                document[section] = _value(File, section, environ[variable])
            continue
        field = File.model_fields.get(section)
        model = field.annotation if field is not None else None
        if not (isinstance(model, type) and issubclass(model, Table)) or key not in model.model_fields:
            problems.append(f"{variable}: there is no such setting")
            continue
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = _value(model, key, environ[variable])
    return problems


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes that Python could not decode
        return False
    return True


def _value(model: type[Table], key: str, text: str) -> object:
    if model.model_fields[key].annotation in (str, str | None):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # an address or a duration, written without quotes
