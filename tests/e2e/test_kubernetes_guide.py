"""docs/guides/kubernetes.md, as far as it can be followed without a cluster.

Programs in the place of kubectl and helm write down how they are called. So the Secrets that the page makes are
compared with those that the chart's pods mount. `make check-deploy` renders the same chart and overlay by Helm and
kustomize.
"""

import json
import shlex
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.chart import EXAMPLES, of_kind, workload
from tests.guides import GUIDES
from tests.pages import ROOT, blocks_of, check_output, shell

pytestmark = pytest.mark.processes

PAGE = GUIDES / "kubernetes.md"
RECORDER = f"""\
#!{sys.executable}
import json, sys
with open("calls", "a") as calls:
    calls.write(json.dumps([{{name!r}}, *sys.argv[1:]]) + "\\n")
"""


@pytest.fixture
def calls(tmp_path: Path) -> list[list[str]]:
    """The calls of kubectl and helm by a reader who follows the page in a checkout."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "my-values.yaml").write_text((EXAMPLES / "minimal.yaml").read_text())
    (tmp_path / "store-password").write_text("a-password")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("kubectl", "helm"):
        (programs / name).write_text(RECORDER.format(name=name))
        (programs / name).chmod(0o755)
    for block in blocks_of(PAGE):
        if (block.kind, block.mark) == ("sh", "kubernetes"):
            done = shell(tmp_path, f'export PATH="{programs}:$PATH"\n{block.text}')
            check_output(block, None, done)
    return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


def option(call: Sequence[str], *names: str) -> str:
    (at,) = [place for place, word in enumerate(call) if word in names]
    return call[at + 1]


def created(calls: Sequence[Sequence[str]], directory: Path) -> dict[str, set[str]]:
    """Return the keys of each Secret that the page makes; its files have to be there."""
    made: dict[str, set[str]] = {}
    for call in calls:
        if "secret" not in call:
            continue
        assert option(call, "-n") == "tokenmint"
        name = call[call.index("generic") + 1]
        for word in call[call.index(name) + 1 :]:
            kind, _, given = word.partition("=")
            key, _, value = given.rpartition("=")
            assert kind in ("--from-file", "--from-literal")
            assert kind == "--from-literal" or (directory / value).stat().st_size > 8, word
            made.setdefault(name, set()).add(key or value)
    return made


def mounted(spec: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the Secrets that a pod uses, with their keys."""
    found = {
        (volume["secret"]["secretName"], item["key"])
        for volume in spec["volumes"]
        if "secret" in volume
        for item in volume["secret"]["items"]
    }
    variables = [one for container in spec["containers"] for one in container.get("env", [])]
    references = [one["valueFrom"]["secretKeyRef"] for one in variables if "valueFrom" in one]
    return found | {(one["name"], one["key"]) for one in references}


def test_the_page_makes_every_secret_that_the_pods_mount(calls: list[list[str]], tmp_path: Path) -> None:
    made = {(name, key) for name, keys in created(calls, tmp_path).items() for key in keys}
    (test,) = of_kind("minimal", "Pod")
    assert made == mounted(workload("minimal")["spec"]["template"]["spec"]) | mounted(test["spec"])


def test_the_page_installs_tests_and_applies_what_is_there(calls: list[list[str]], tmp_path: Path) -> None:
    (install,) = [call for call in calls if call[:2] == ["helm", "upgrade"]]
    assert (tmp_path / install[4] / "Chart.yaml").exists()
    assert (tmp_path / option(install, "--values")).exists()
    (test,) = [call for call in calls if call[:2] == ["helm", "test"]]
    assert test[2] == install[3]
    assert option(test, "--namespace") == option(install, "--namespace") == "tokenmint"
    (apply,) = [call for call in calls if "apply" in call]
    folder = tmp_path / option(apply, "-k")
    overlay = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert all((folder / resource).is_dir() for resource in overlay["resources"])
    assert calls.index(install) > max(place for place, call in enumerate(calls) if "secret" in call)


def test_every_command_in_a_sentence_names_a_service_or_a_workload_that_exists() -> None:
    text = " ".join(PAGE.read_text().split())
    commands = [shlex.split(part.partition("`")[0]) for part in text.split("`kubectl ")[1:]]
    forwards = [command for command in commands if "port-forward" in command]
    deletions = [command[3:5] for command in commands if "delete" in command]
    assert (len(forwards), len(deletions), len(commands)) == (3, 2, 5)
    assert deletions == [["service", "tokenmint-grpc"], ["statefulset", workload("minimal")["metadata"]["name"]]]
    made = [*of_kind("minimal", "Service"), *of_kind("cert-manager", "Service")]  # the latter has the console
    services = {item["metadata"]["name"]: item["spec"]["ports"][0]["port"] for item in made}
    assert "tokenmint-grpc" in services
    for forward in forwards:
        kind, _, name = next(word for word in forward if "/" in word).partition("/")
        if kind == "svc":
            assert services[name] == int(forward[-1])
        else:
            assert (kind, name, forward[-1]) == ("deploy", workload("minimal")["metadata"]["name"], "9464")


def test_the_configuration_as_yaml_and_as_toml_are_the_same() -> None:
    (shown,) = [block.text for block in blocks_of(PAGE) if block.kind == "yaml"]
    (text,) = [block.text for block in blocks_of(PAGE) if block.kind == "toml"]
    as_toml = tomllib.loads(text)
    assert as_toml["providers"]["cluster"].pop("issuer")  # not needed within the cluster
    assert yaml.safe_load(shown) == as_toml
