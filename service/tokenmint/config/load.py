"""The configuration: one TOML file, then the environment. All problems are reported at once.

Secrets come only from files or the environment; a literal secret in the file is refused.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tokenmint.base.config_values import Table
from tokenmint.base.errors import ConfigurationError
from tokenmint.base.files import read_text
from tokenmint.config.check import check
from tokenmint.config.data_dir import problems_of_start
from tokenmint.config.document import follows, parsed, placeholders, too_deep
from tokenmint.config.places import lines_of, place_of, written_places
from tokenmint.config.settings import Settings
from tokenmint.config.suggestions import did_you_mean
from tokenmint.config.tables import File, file_table
from tokenmint.formats.table import Formats, shipped, tables

ENVIRONMENT_PREFIX: Final = "TOKENMINT_"
DEFAULT_FILE: Final = Path("tokenmint.toml")
_AT_THE_TOP: Final = ("issuer", "data_dir", "reflection", "channelz")


def locate(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to load: the given one, `TOKENMINT_CONFIG`, or `./tokenmint.toml` if it exists."""
    if path is not None:
        return path
    if environ.get("TOKENMINT_CONFIG"):
        return Path(environ["TOKENMINT_CONFIG"])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    development: bool = False,
    listen: Mapping[str, str] | None = None,
    starting: bool = False,
    formats: Formats | None = None,
) -> Settings:
    """Read and check the configuration from ``path`` (None: no file) and the environment. Creates nothing.

    `config check`, a start and a reload all use this check.

    Args:
        development: whether this is for `serve --dev`.
        listen: the addresses of the listeners if their ports are known, by name.
        starting: check the data directory too, for a start.
        formats: the formats that audiences may have; None: the shipped ones.

    Raises:
        ConfigurationError: lists every problem with the key's path, its line or variable, and the remedy.
    """
    document, text = _read(path) if path is not None else ({}, "")
    places = {key: f"line {line}" for key, line in lines_of(text).items()}
    base = path.resolve().parent if path is not None else Path.cwd()
    settings = judged(
        document, environ, base, places, development=development, listen=listen, starting=starting, formats=formats
    )
    return replace(settings, places=MappingProxyType(written_places(places, text)))


def judged(
    document: dict[str, Any],
    environ: Mapping[str, str],
    base: Path,
    places: dict[str, str],
    *,
    development: bool,
    listen: Mapping[str, str] | None = None,
    starting: bool = False,
    formats: Formats | None = None,
) -> Settings:
    """Return the settings of a document, or raise as :func:`load`, which describes the other arguments.

    Args:
        base: the directory at which relative paths begin.
        places: the place of each key.
    """
    problems = _literal_secrets(document)
    problems += _apply_environment(document, environ, places)
    if too_deep(document):
        raise ConfigurationError("the configuration is nested too deeply")
    problems += placeholders(document)
    formats = formats or shipped()
    outcome = parsed(file_table(tables(formats)), document)
    problems += outcome.problems
    http = listen["http"] if listen is not None else None
    settings, wrong = check(outcome.table, base, environ, formats, development=development, http=http)
    if starting and not follows("data_dir: ", outcome.dropped):
        wrong += problems_of_start(settings, development=development)
    problems += [problem for problem in wrong if not follows(problem, outcome.dropped)]
    if problems:
        raise ConfigurationError([_with_place(problem, places) for problem in dict.fromkeys(problems)])
    return settings


def _with_place(problem: str, places: Mapping[str, str]) -> str:
    place = place_of(problem, places)
    return f"{problem} ({place})" if place else problem


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = read_text(path)
        document = tomllib.loads(text)
    except OSError as error:
        remedy = ": `tokenmint init` writes a first configuration" if isinstance(error, FileNotFoundError) else ""
        raise ConfigurationError(f"{path}: can't be read ({error.strerror}){remedy}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        remedy = ": write the table once, with the lines of both" if "twice" in str(error) else ""
        raise ConfigurationError(f"{path}: is not TOML: {error}{remedy}") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: is nested too deeply") from None
    return document, text


def _literal_secrets(document: Mapping[str, Any]) -> list[str]:
    problems = []
    for section, key in (("redis", "password"), ("keys", "encryption_key")):
        table = document.get(section)
        if isinstance(table, dict) and key in table:
            problems.append(f"{section}.{key}: a secret is not allowed in the file: use {section}.{key}_file or "
                            f"{ENVIRONMENT_PREFIX}{section.upper()}__{key.upper()}")  # fmt: skip
    redis = document.get("redis")
    url = redis.get("url") if isinstance(redis, dict) else None
    if isinstance(url, str) and "@" in url and ":" in url.partition("://")[2].rpartition("@")[0]:
        problems.append("redis.url: a password is not allowed in the file: use redis.password_file")
    return problems


def _apply_environment(document: dict[str, Any], environ: Mapping[str, str], places: dict[str, str]) -> list[str]:
    """Put `TOKENMINT_SECTION__KEY` and `TOKENMINT_KEY` into the document, and note the variable as the key's place.

    Other `TOKENMINT_` names are ignored: an orchestrator makes such names for a service with this name.
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
            if section in _AT_THE_TOP:
                document[section] = _value(File, section, environ[variable])
                places[section] = variable
            continue
        field = File.model_fields.get(section)
        model = field.annotation if field is not None else None
        if not (isinstance(model, type) and issubclass(model, Table)) or key not in model.model_fields:
            problems.append(f"{variable}: there is no such setting{did_you_mean(variable, _variables())}")
            continue
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = _value(model, key, environ[variable])
            places[f"{section}.{key}"] = variable
    return problems


def _variables() -> list[str]:
    """Return the names of all variables that the service reads."""
    tables = {
        name: field.annotation
        for name, field in File.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Table)
    }
    names = [*_AT_THE_TOP, *(f"{section}__{key}" for section, table in tables.items() for key in table.model_fields)]
    return [ENVIRONMENT_PREFIX + name.upper() for name in names]


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
        value: object = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text  # an address or a duration, written without quotes
    return value
