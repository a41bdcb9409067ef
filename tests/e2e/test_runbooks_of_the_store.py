"""Every command of the runbooks about the store is executed, with real servers."""

import json
import re
from pathlib import Path

import pytest
from tests import plain_http
from tests.http_servers import Handler, running
from tests.issuer import Issuer
from tests.rig import PATIENCE
from tests.runbooks import LOG, Runbook, is_jwt, store_at, until
from tests.wire import Engine

pytestmark = pytest.mark.processes

SOON = {"TOKENMINT_KEYS__REPLICA_LAG": "3s"}
"""R for a test that waits until it has passed."""


def has_problem(book: Runbook, name: str) -> bool:
    return name in book.readiness()["problems"]


@pytest.mark.parametrize("kind", ["built-in", "server"])
def test_backup(tmp_path: Path, issuer: Issuer, kind: str) -> None:
    engine = Engine(tmp_path / "store", *LOG)
    own = kind == "server"
    if own:
        engine.start()
    with Runbook("backup", tmp_path, issuer, store_at(engine) if own else "") as book:
        book.environ |= (
            {"STORE": f"-p {engine.port}", "FOLDER": "store"}
            if own
            else {"STORE": "-s .tokenmint/server.sock", "FOLDER": ".tokenmint"}
        )
        service = book.serve()
        book.put("ada")
        signing = book.active_key()
        book.step()
        book.step()
        assert (tmp_path / "kek-copy").read_bytes() == (tmp_path / "tokenmint.kek").read_bytes()
        book.put("lost")
        book.run("tokenmint keys rotate --force")
        assert book.active_key() != signing
        service.stop()
        engine.kill()
        book.step()
        (tmp_path / "tokenmint.kek").unlink()
        (tmp_path / "kek-copy").rename(tmp_path / "tokenmint.kek")
        if own:
            engine.start()
        restored = book.serve()
        assert '"problems":{"store":"the store lost changes' in book.step()
        assert book.exchange() == "STORE_WENT_BACK"
        assert "accepted" in book.step()
        until(lambda: book.readiness()["ready"])
        told = book.step()
        assert signing in told
        assert "ada" in told
        assert "lost" not in told
        assert book.active_key() == signing
        until(lambda: is_jwt(book.exchange()))
        restored.stop()
    engine.kill()
    engine.client.close()


@pytest.mark.parametrize("kind", ["built-in", "server"])
def test_moving_the_store_by_a_copy(tmp_path: Path, issuer: Issuer, kind: str) -> None:
    own = kind == "server"
    with (
        Engine(tmp_path / "old", *LOG) as old,
        Engine(tmp_path / "new", *LOG) as new,
        Runbook("moving-the-store", tmp_path, issuer, store_at(old) if own else "") as book,
    ):
        book.environ |= {"STORE": f"-p {old.port}", **SOON}
        service = book.serve(**SOON)
        book.put("ada")
        until(lambda: is_jwt(book.exchange()))
        signing = book.active_key()
        (shown,) = {block for block in book.shown("toml") if "new-store" in block}
        table = shown.replace("new-store:6379", f"127.0.0.1:{new.port}")
        before = book.config.read_text().partition("\n[redis]")[0]
        (tmp_path / "new.toml").write_text(f"{before}\n{table}\n{PATIENCE}")
        book.step()
        if not own:
            service.stop()
            book.skip()
        else:
            book.step()
            url = f"http://{service.listen['http']}/.well-known/jwks.json"
            until(lambda: book.exchange() == "SIGNER_UNAVAILABLE")
            assert signing in {key["kid"] for key in plain_http.get(url).json()["keys"]}
        assert "copied the key ring" in book.step()
        refused = book.run("tokenmint store copy --to new.toml", fails=True)
        assert "holds a key ring already" in refused
        service.stop()
        book.serve("--config", "new.toml")
        told = book.step()
        assert signing in told
        assert "ada" in told
        assert book.readiness()["problems"] == {}
        assert book.active_key() == signing
        until(lambda: is_jwt(book.exchange()))
        book.skip(3)


def test_moving_the_store_by_replication(tmp_path: Path, issuer: Issuer) -> None:
    with (
        Engine(tmp_path / "old", *LOG) as old,
        Engine(tmp_path / "new", *LOG) as new,
        Runbook("moving-the-store", tmp_path, issuer, store_at(old)) as book,
    ):
        book.environ |= {
            "STORE": f"-p {old.port}", "NEW": f"-p {new.port}", "OLD_HOST": "127.0.0.1", "OLD_PORT": str(old.port),
        }  # fmt: skip
        service = book.serve()
        book.put("ada")
        until(lambda: is_jwt(book.exchange()))
        signing = book.active_key()
        text = book.config.read_text().replace(f":{old.port}", f":{new.port}")
        (tmp_path / "new.toml").write_text(text)
        book.skip(4)
        book.step()
        book.put("bob")
        book.step()
        assert new.client.info("replication")["role"] == "master"
        until(lambda: is_jwt(book.exchange(service)))
        moved = book.serve("--config", "new.toml")
        until(lambda: is_jwt(book.exchange(moved)))
        service.stop()
        told = book.step()
        assert signing in told
        assert "ada" in told
        assert "bob" in told
        assert book.readiness()["problems"] == {}


def regions(book: Runbook, one: Engine, two: Engine) -> None:
    """Write the configurations of both regions, as the page has them."""
    book.environ |= {"REPLICA": f"-p {two.port}", "OLD_HOST": "127.0.0.1", "OLD_PORT": str(one.port)}
    plain = book.config.read_text()
    (shown,) = book.shown("toml")
    book.config.write_text(plain + "\n" + shown.replace("store.one:6379", f"127.0.0.1:{one.port}"))
    (book.directory / "other-region.toml").write_text(plain + store_at(two))


def test_a_region_that_is_gone_takes_no_change_that_its_replica_confirmed(tmp_path: Path, issuer: Issuer) -> None:
    with (
        Engine(tmp_path / "one", *LOG) as one,
        Engine(tmp_path / "two", *LOG) as two,
        Runbook("region-failover", tmp_path, issuer) as book,
    ):
        regions(book, one, two)
        book.step()
        service = book.serve()
        book.put("ada")
        signing = book.active_key()
        one.kill()
        service.stop()
        book.step()
        book.step()
        told = book.step()
        assert signing in told
        assert book.readiness()["problems"] == {}
        assert book.active_key() == signing
        assert book.profiles() == {"ada"}
        until(lambda: is_jwt(book.exchange()))
        book.skip()


def test_a_region_that_is_gone_with_changes_that_no_replica_has(tmp_path: Path, issuer: Issuer) -> None:
    with (
        Engine(tmp_path / "one", *LOG) as one,
        Engine(tmp_path / "two", *LOG) as two,
        Runbook("region-failover", tmp_path, issuer) as book,
    ):
        regions(book, one, two)
        book.step()
        service = book.serve(TOKENMINT_REDIS__MIN_REPLICAS="0")
        book.put("ada")
        until(lambda: two.client.get("tm:profile:ada") is not None)
        two.client.replicaof("NO", "ONE")  # the way between the regions is cut
        book.put("lost")
        book.run("tokenmint keys rotate --force")
        one.kill()
        service.stop()
        book.step()
        book.step()
        assert '"problems":{"store":"the store lost changes' in book.step()
        assert book.exchange() == "STORE_WENT_BACK"
        assert "accepted" in book.step()
        until(lambda: book.readiness()["ready"])
        assert book.profiles() == {"ada"}
        until(lambda: is_jwt(book.exchange()))


def test_the_stores_disk_is_full(tmp_path: Path, issuer: Issuer) -> None:
    with (
        Engine(tmp_path / "store", *LOG) as engine,
        Runbook("disk-full", tmp_path, issuer, store_at(engine)) as book,
    ):
        book.environ["STORE"] = f"-p {engine.port}"
        book.serve(**SOON)
        until(lambda: is_jwt(book.exchange(sub="known")))
        book.step()
        engine.limit_files(0)
        until(lambda: "MISCONF" in json.dumps(book.readiness()["details"]))
        put = """echo '{"principal": "ada"}' | tokenmint profiles put --timeout 60 -"""
        # The engine may still take a write, which is then never confirmed, before it refuses further ones.
        until(lambda: "STORE_UNAVAILABLE" in book.run(put, fails=True))
        until(lambda: book.exchange(sub="known") == "SIGNER_UNAVAILABLE")
        assert has_problem(book, "signing keys")
        engine.limit_files(-1)
        until(lambda: book.readiness()["ready"])
        assert "rewriting" in book.step()
        told = book.step()
        assert '"ready":true' in told
        assert book.profiles() >= {"ada"}
        until(lambda: is_jwt(book.exchange(sub="known")))
        assert "tokenmint_high_water_mark_kept 1" in book.step()


def test_the_data_directory_can_not_be_written(tmp_path: Path, issuer: Issuer) -> None:
    """Another cause than a full disk, with the same effect: a file is in the place of the mark's directory."""
    marks, kept = tmp_path / "marks", tmp_path / "kept"
    with (
        Engine(tmp_path / "store", *LOG) as engine,
        Runbook("disk-full", tmp_path, issuer, store_at(engine)) as book,
    ):
        service = book.serve(TOKENMINT_KEYS__HIGH_WATER_MARK_FILE="marks/mark.json")
        until(marks.exists)
        marks.rename(kept)
        marks.write_text("")
        book.run("tokenmint keys rotate --force")
        until(lambda: "high-water mark can't be kept" in json.dumps(book.readiness()["details"]))
        assert book.readiness()["ready"]
        until(lambda: is_jwt(book.exchange()))
        book.skip(3)
        metrics = f"http://{service.listen['ops']}/metrics"
        until(lambda: "\ntokenmint_high_water_mark_kept 0" in plain_http.get(metrics).text)
        marks.unlink()
        kept.rename(marks)
        book.run("tokenmint keys rotate --force")
        until(lambda: "\ntokenmint_high_water_mark_kept 1" in plain_http.get(metrics).text)
        assert "tokenmint_high_water_mark_kept 1" in book.step()
        assert "high-water mark" not in json.dumps(book.readiness()["details"])


def test_the_stores_password(tmp_path: Path, issuer: Issuer) -> None:
    old, new = "the-last-password", "the-next-password"
    asked: list[str] = []
    keys = issuer.body("/jwks.json") or b""

    class Keys(Handler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization", ""))
            self.give(200, keys)

    with (
        Engine(tmp_path / "store", *LOG, "--requirepass", old, password=old) as engine,
        running(Keys) as port,
        Runbook("password-rotation", tmp_path, issuer, store_at(engine) + 'password_file = "password"\n') as book,
    ):
        provider = f'jwks_url = "http://127.0.0.1:{port}/keys"\nbearer_token_file = "bearer"\n'
        book.config.write_text(
            book.config.read_text().replace('audiences = ["app"]\n', f'audiences = ["app"]\n{provider}')
        )
        files = {"password": old, "last-password": old, "next-password": new, "bearer": "b1", "next-token": "b2"}
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        service = book.serve()
        book.environ["STORE"] = f"-p {engine.port} --no-auth-warning -a {old}"
        book.step()
        book.step()
        book.environ["STORE"] = f"-p {engine.port} --no-auth-warning -a {new}"
        book.step()
        told = book.step()
        assert '"files"' not in told
        book.step()
        assert "WRONGPASS" in book.run(f"redis-cli -p {engine.port} --no-auth-warning -a {old} PING")
        book.run(f"redis-cli {book.environ['STORE']} CLIENT KILL TYPE normal")
        until(lambda: is_jwt(book.exchange()))
        assert book.profiles() >= {"ada"}
        printed = book.step()
        line = re.search(r'"(sha256:[0-9a-f]{64})"', printed)
        assert line is not None
        text = book.config.read_text()
        head, _, operators = text.partition("[operators.admin]")
        book.config.write_text(
            f"{head}[operators.admin]{operators.replace('secrets = [', f'secrets = [{line[0]}, ', 1)}"
        )
        book.step()
        until(lambda: "configuration reloaded" in service.errors.read_text())
        assert "active" in book.step()
        book.step()
        assert asked[-1] == "Bearer b2"
        assert "Bearer b1" in asked
