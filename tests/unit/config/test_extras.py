"""The default installation has no extra: a configuration that needs one is told its name before anything starts."""

import re
import sys
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.extras import NEEDED, configure
from tests.fakes import FakeEntropy
from tests.pages import ROOT, rows_of

from tokenmint.base import extras
from tokenmint.base.errors import ConfigurationError
from tokenmint.config.load import load
from tokenmint.keys.sealing import Sealer
from tokenmint.keys.signers.configured import key_sources
from tokenmint.model.secret import Secret

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_extra_of_the_package_is_listed_with_its_package() -> None:
    listed = {name: [extra.package] for name, extra in extras.EXTRAS.items()}
    named = {
        name: [re.split(r"[<>=]", requirement)[0] for requirement in requirements]
        for name, requirements in PROJECT["optional-dependencies"].items()
    }
    assert named == listed
    assert {extra for extra, _ in NEEDED.values()} == listed.keys()
    (installed,) = re.findall(r"tokenmint\[([\w,-]+,[\w,-]+)\]", (ROOT / "README.md").read_text())
    assert set(installed.split(",")) == listed.keys()
    rows = rows_of(ROOT / "docs" / "releasing.md")
    assert [row for row in rows if row in listed or row.isalpha()] == list(listed)


@pytest.mark.parametrize("setting", NEEDED)
def test_a_setting_that_needs_a_missing_extra_names_it(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra, _ = NEEDED[setting]
    absent = extras.EXTRAS[extra].module

    def without(name: str) -> object:
        return None if name == absent else object() if name in modules else find_spec(name)

    modules = {each.module for each in extras.EXTRAS.values()}
    monkeypatch.setattr(extras, "find_spec", without)
    with pytest.raises(ConfigurationError) as error:
        load(configure(tmp_path, setting), {})
    assert len(error.value.problems) == 1
    assert error.value.problems[0].startswith(f"{setting}: ")
    assert f"needs the package {extras.EXTRAS[extra].package}: install tokenmint[{extra}]" in error.value.problems[0]


@pytest.mark.parametrize("setting", NEEDED)
def test_with_its_extra_the_setting_is_accepted(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: object())
    load(configure(tmp_path, setting), {})


def test_a_module_in_a_package_that_is_not_there_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """find_spec imports the packages around a module, and raises where there is none."""
    monkeypatch.setitem(extras.EXTRAS, "otel", extras.Extra("no_such_package.proto", "opentelemetry-proto"))
    assert not extras.is_installed("otel")


SIGNERS: dict[str, tuple[str, Callable[[Sealer], object]]] = {
    "pkcs11": ("pkcs11", lambda sealer: key_sources(sealer, pkcs11=(Path("m"), "t", Secret("1")))),
    "aws-kms": ("boto3", lambda sealer: key_sources(sealer, aws_kms={})),
}


@pytest.mark.parametrize("extra", SIGNERS)
def test_an_extra_that_is_removed_after_the_check_is_named_as_well(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, make = SIGNERS[extra]
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"tokenmint.keys.signers.{extra.replace('-', '_')}", raising=False)
    with pytest.raises(ConfigurationError, match=rf"tokenmint\[{extra}\]"):
        make(Sealer(Secret(b"k" * 32), FakeEntropy()))
