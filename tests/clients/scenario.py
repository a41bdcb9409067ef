"""Plays one scenario of scenarios.json with a driver."""

import base64
import http.client
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from tests.clients import minter
from tests.clients.driver import Driver
from tests.clients.key_set_proxy import JWKS_PATH
from tests.clients.own_tokens import transaction_token
from tests.clients.world import LIMIT, SLOW, World, wait_for
from tests.process import CLIENT

DRIVER_FIELDS = (
    "do", "count", "scopes", "lifetime", "nonce", "subject_token_type", "requested_token_type", "timeout", "seconds",
    "url", "target", "resource", "require_dpop", "nonce_key", "resources", "dpop_jkt", "values", "request_context",
    "request_details",
)  # fmt: skip


def expand(scenarios: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the scenarios with each row of a table as one of its own."""
    expanded: list[dict[str, Any]] = []
    for scenario in scenarios:
        for reason, row in scenario.get("table", {"": None}).items():
            if row is None:
                expanded.append(scenario)
                continue
            step = {**row, "do": "exchange", "error": {"code": row["code"], "reason": reason}}
            expanded.append({"name": scenario["name"].replace("$reason", reason), "steps": [step]})
    return expanded


class Play:
    """One scenario in one language."""

    def __init__(self, world: World, driver: Driver, audiences: Mapping[str, str]) -> None:
        self.world = world
        self.driver = driver
        self.audiences = audiences
        self.saved: dict[str, Any] = {}
        self._subjects: dict[str, str] = {}
        self._before: dict[str, int] = {}
        self._requests = 0
        self._fetches = 0
        self._offset = 0.0
        """Of the driver's clock."""

    def run(self, scenario: Mapping[str, Any]) -> None:
        """Play it. Raises ``AssertionError`` where something else came than was expected."""
        self.world.mend_key_set()
        assert self.driver.ask(self._configuration(scenario.get("configure", {}))) == {"ok": {}}
        self._before = self.world.calls()
        self._requests = len(self.world.proxy.requests)
        self._fetches = len(self.world.issuers["minter"].requests)
        for number, step in enumerate(scenario["steps"], 1):
            try:
                self._step(step)
            except AssertionError as error:
                raise AssertionError(f"step {number} {json.dumps(step)}: {error}") from None

    def _configuration(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        targets = {"main": self.world.main.listen["grpc"], "mtls": self.world.mutual.listen["grpc"]}
        authorities = {"ca": self.world.path("ca.pem"), "other": self.world.path("other.pem")}
        configuration = {
            "do": "configure",
            "target": targets.get(changes.get("target", "main"), "127.0.0.1:9"),
            "ca_file": str(authorities[changes.get("ca_file", "ca")]),
            "credential": self._credential(changes.get("credential", "secret")),
            "issuer": changes.get("issuer", self.world.proxy.url),
            "jwks_url": self.world.proxy.url + JWKS_PATH,
        }
        if changes.get("issuer") == "minter":
            url = self.world.issuers["minter"].url
            configuration |= {"issuer": url, "jwks_url": f"{url}/jwks.json"}
        names = ("timeout", "max_entries", "accept_bound", "algorithms", "token_type", "revocations", "status_lists")
        return configuration | {name: changes[name] for name in names if name in changes}

    def _credential(self, name: str) -> dict[str, str]:
        def path(file: str) -> str:
            return str(self.world.path(file))

        secret = {"kind": "secret", "client_id": "web", "secret": CLIENT.reveal()}
        return {
            "secret": secret,
            "wrong secret": {**secret, "secret": "tms_wrong"},
            "slow": {"kind": "secret", "client_id": "slow", "secret": SLOW.reveal()},
            "assertion": {
                "kind": "assertion", "client_id": "keys", "key_file": path("client.key"), "key_id": "c",
                "algorithm": "ES256", "audience": self.world.proxy.url,
            },
            "workload": {"kind": "workload", "client_id": "pod", "token_file": path("workload.token")},
            "certificate": {"kind": "certificate", "cert_file": path("mesh.crt"), "key_file": path("mesh.key")},
            "certificate of nobody": {
                "kind": "certificate", "cert_file": path("nobody.crt"), "key_file": path("nobody.key")
            },
            "public": {"kind": "public", "client_id": "spa"},
        }[name]  # fmt: skip

    def _step(self, step: Mapping[str, Any]) -> None:
        if "do" in step:
            self._judge(step, self.driver.ask(self._command(step)))
            if step["do"] == "advance":
                self._offset += step["seconds"]
        elif "request" in step:
            self._request(step)
        elif "key set headers" in step:
            self.world.issuers["minter"].headers = step["key set headers"]
        elif "begin" in step:
            self.driver.send(self._command(step["begin"]))
        elif "finish" in step:
            self._judge(step, self.driver.receive())
        elif "repeat" in step:
            self._repeat(step)
        elif "runner" in step:
            getattr(self.world, step["runner"].replace(" ", "_"))()
        elif "admin" in step:
            arguments = {name: self._value(value) for name, value in step.items() if name != "admin"}
            getattr(self.world, step["admin"].replace(" ", "_"))(**arguments)
        else:
            self._check(step)

    def _command(self, step: Mapping[str, Any]) -> dict[str, Any]:
        command = {name: self._value(step[name]) for name in DRIVER_FIELDS if name in step}
        if "audience" in step:
            command["audience"] = self.audiences.get(step["audience"], step["audience"])
        if "targets" in step:
            command["targets"] = [
                {**target, "audience": self.audiences.get(target["audience"], target["audience"])}
                for target in step["targets"]
            ]
        if "actor" in step:
            command["actor_token"] = self._subject({"subject": step["actor"]})
            command["actor_token_type"] = "urn:ietf:params:oauth:token-type:id_token"
        if "own" in step:
            own = step["own"]
            command["token"] = transaction_token(self.world.proxy.url, own.get("header", {}), own.get("claims", {}))
        elif step["do"] == "verify" and "made" in step:
            command["token"] = self._made(step)
        elif step["do"] == "txn_header":
            command |= {"token": self._value(step["token"])} if "token" in step else {}
        elif step["do"] in ("verify", "verify_txn"):
            token = self._subject(step) if step["token"] == "$subject" else self._value(step["token"])
            command["token"] = forge(token, step["forged"]) if "forged" in step else token
        elif "subject_token" in step:
            command["subject_token"] = step["subject_token"]
        elif "subject" in step:
            token = self._subject(step)
            command["subject_token"] = forge(token, step["forged"]) if "forged" in step else token
        return command

    def _made(self, step: Mapping[str, Any]) -> str:
        """A token of the issuer whose key the runner has."""
        token = minter.minted(self.world.issuers["minter"].url, step["made"], time.time() + self._offset)
        if step.get("forged") == "signature":
            token = minter.tampered(token)
        longer: int = step.get("longer", 0)
        return token + ("=" if step.get("forged") == "padding" else "") + "x" * longer

    def _request(self, step: Mapping[str, Any]) -> None:
        """Send a request as a client that may hold a key, and compare the answer."""
        path, now = step.get("path", "/"), time.time() + self._offset
        token = self._value(step["token"]) if "token" in step else self._made(step) if "made" in step else ""
        headers = [("Authorization", f"{step.get('scheme', 'Bearer')} {token}")] if token else []
        proofs = step.get("proofs", [step["proof"]] if "proof" in step else [])
        for spec in map(self._value, proofs):
            url = f"https://api.example{path.partition('?')[0]}"
            made = spec if isinstance(spec, str) else minter.proof(spec, url, token, now)
            self.saved[step.get("save_proof", "")] = made
            headers.append(("DPoP", made))
        self.saved[step.get("save_token", "")] = token
        connection = http.client.HTTPConnection(self._value(step["request"]).removeprefix("http://"), timeout=LIMIT)
        connection.putrequest(step.get("method", "GET"), path)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        challenge, body = ", ".join(answer.headers.get_all("WWW-Authenticate", [])), answer.read().decode()
        connection.close()
        self.saved[step.get("save_nonce", "")] = answer.getheader("DPoP-Nonce", "")
        shown_answer = f"{answer.status} {challenge!r} {body!r}"
        assert answer.status == step["status"], shown_answer
        assert all(part in challenge for part in step.get("challenge", [])), shown_answer
        assert step.get("challenge is", challenge) == challenge, shown_answer
        assert "body" not in step or step["body"] == body, shown_answer
        assert "json" not in step or step["json"] == json.loads(body), shown_answer
        assert not token or token not in challenge + body, "the answer has the token"

    def _subject(self, step: Mapping[str, Any]) -> str:
        """A provider's token with these changes to its claims; the same within a scenario. Times are from now."""
        spec = json.dumps([step.get(name) for name in ("provider", "subject", "headers", "algorithm")])
        if spec not in self._subjects:
            now = time.time()
            changes = {
                name: int(now) + value if name in ("exp", "iat", "nbf") else value
                for name, value in step["subject"].items()
            }
            if str(changes.get("email", "")).endswith("repeated"):
                changes["email"] = "x" * 2000
            changes["jti"] = f"{changes.get('jti', '')}-{uuid.uuid4()}"
            issuer = self.world.issuers[step.get("provider", "idp")]
            before, issuer.algorithm = issuer.algorithm, step.get("algorithm", issuer.algorithm)
            try:
                self._subjects[spec] = issuer.token(
                    now, step.get("headers"), **{"email": "ada@example.com", "email_verified": True, **changes}
                )
            finally:
                issuer.algorithm = before
        return self._subjects[spec]

    def _value(self, value: Any) -> Any:
        """Look up what begins with a dollar sign in what was saved."""
        if isinstance(value, Mapping):
            return {name: self._value(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, str) and value.startswith("$"):
            found: Any = self.saved
            for part in value[1:].split("."):
                found = found[part]
            return found
        return value

    def _judge(self, step: Mapping[str, Any], answer: dict[str, Any]) -> None:
        if "error" in step or "error_in" in step:
            wanted = step.get("error_in", [step.get("error")])
            assert "error" in answer, f"expected {wanted}, got {shown(answer)}"
            assert any(fits(answer["error"], self._value(one)) for one in wanted), (
                f"expected {wanted}, got {shown(answer)}"
            )
            message = answer["error"]["message"]
            assert all(part in message for part in step.get("message_has", [])), message
            self.saved[step.get("save_error", "")] = answer["error"]
            return
        assert "ok" in answer, f"got {shown(answer)}"
        wanted = self._value(step.get("expect", {}))
        assert fits(answer["ok"], wanted), f"expected {wanted}, got {shown(answer)}"
        self.saved[step.get("save", "")] = answer["ok"]

    def _repeat(self, step: Mapping[str, Any]) -> None:
        answers: list[dict[str, Any]] = []

        def changed() -> bool:
            answers.append(self.driver.ask(self._command(step["repeat"])))
            return not fits(answers[-1].get("ok", {}), self._value(step["until_not"]))

        wait_for(changed, "another answer")
        self._judge(step, answers[-1])

    def _check(self, step: Mapping[str, Any]) -> None:
        kind = step["check"]
        if kind == "lives":
            left = self._value(step["token"])["expires_at"] - time.time()
            assert step["seconds"] - 30 < left <= step["seconds"] + 1, f"lives for {left:.0f} s"
        elif kind == "differ":
            values = self._value(step["values"])
            assert len(set(values)) == len(values), values
        elif kind == "length":
            assert len(self._value(step["value"])) == step["is"], self._value(step["value"])
        elif kind == "positive":
            assert (self._value(step["value"]) or 0) > 0, self._value(step["value"])
        elif kind == "fetches":
            fetches = len(self.world.issuers["minter"].requests) - self._fetches
            assert fetches == step["count"], f"there were {fetches}"
        elif kind in ("exchanges", "refused"):
            self._check_calls(step)
        elif kind in ("key set requests", "key set requests at most"):
            made = self.world.proxy.requests[self._requests :]
            most = kind.endswith("at most")
            assert len(made) <= step["count"] if most else len(made) == step["count"], f"there were {len(made)}"
            assert made.count(True) == step.get("conditional", made.count(True)), f"conditional: {made}"
        else:
            raise AssertionError(f"an unknown check: {kind}")

    def _check_calls(self, step: Mapping[str, Any]) -> None:
        reason = step.get("reason", "")
        least = step.get("at_least", step.get("count", 0))

        def count() -> int:
            return self.world.calls().get(reason, 0) - self._before.get(reason, 0)

        wait_for(lambda: count() >= least, f"{least} calls that end with {reason!r}")
        assert "count" not in step or count() == step["count"], f"expected {step['count']}, there were {count()}"


def fits(given: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there; further members, and the rest of a text for `…`, are not looked at."""
    if isinstance(wanted, str) and wanted.endswith("…"):
        return isinstance(given, str) and given.startswith(wanted.removesuffix("…"))
    if isinstance(wanted, Mapping):
        return isinstance(given, Mapping) and all(name in given and fits(given[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list):
        return isinstance(given, list) and len(given) == len(wanted) and all(map(fits, given, wanted))
    return bool(given == wanted)


def shown(answer: object) -> str:
    """An answer for people."""
    text = json.dumps(answer)
    return text if len(text) < 600 else text[:600] + " …"


def forge(token: str, part: str) -> str:
    """Return a token that somebody changed without the key."""
    header, payload, signature = token.split(".")

    def changed(segment: str, **members: object) -> str:
        content = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
        return base64.urlsafe_b64encode(json.dumps({**content, **members}).encode()).decode().rstrip("=")

    if part == "signature":
        return f"{header}.{payload}.{signature[:10]}{'A' if signature[10] != 'A' else 'B'}{signature[11:]}"
    if part == "payload":
        return f"{header}.{changed(payload, sub='root')}.{signature}"
    if part == "none":
        return f"{changed(header, alg='none')}.{payload}."
    member = {"typ": {"typ": "JWT"}, "hs256": {"alg": "HS256"}, "kid": {"kid": "nobody"}}[part]
    return f"{changed(header, **member)}.{payload}.{signature}"
