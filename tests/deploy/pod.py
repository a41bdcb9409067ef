"""A pod's files, laid out below a folder: its Secrets, its ConfigMap and its volumes, as its manifest mounts them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.deploy.chart import configuration
from tests.tls import authority


class MountedPod:
    """The files of a pod of an example.

    Args:
        name: the example.
        spec: the pod's `spec`.
        folder: stands for the root of the pod's file system.
        secrets: the contents of Secrets by `SECRET/KEY`; others get one that fits the key's name.
    """

    def __init__(
        self, name: str, spec: Mapping[str, Any], folder: Path, secrets: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._secrets = dict(secrets or {})
        self._authority = authority()
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        (container,) = spec["containers"]
        self.mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        for mount in container["volumeMounts"]:
            self._mount(volumes.get(mount["name"], {}), self.place(mount["mountPath"]))
        self.config = self.place("/etc/tokenmint/tokenmint.toml")
        if self.config.parent.exists():
            self.config.write_text(self.placed(configuration(name)))
        self.arguments = [self.placed(argument) for argument in container["args"]]

    def place(self, path: str) -> Path:
        """Return the place of a path of the pod."""
        return self.folder / path.lstrip("/")

    def placed(self, text: str) -> str:
        """Return a text with the pod's mounted paths below the folder."""
        paths = "|".join(re.escape(path) for path in sorted(self.mounts, key=len, reverse=True))
        return re.sub(rf"(?<![\w./-])(?:{paths})(?=[/\"]|$)", lambda path: f"{self.folder}{path[0]}", text)

    def _mount(self, volume: Mapping[str, Any], place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        secret = volume.get("secret")
        if secret is None:
            return
        for item in secret["items"]:
            file = place / item["path"]
            file.write_bytes(self._content(secret["secretName"], item["key"]))
            file.chmod(secret["defaultMode"])

    def _content(self, secret: str, key: str) -> bytes:
        given = self._secrets.get(f"{secret}/{key}")
        if given is not None:
            return given.encode()
        if key == "ca.crt":
            return self._authority.pem
        if key == "headers":
            return b"authorization: a-secret\n"
        if key in ("tls.crt", "tls.key"):
            if f"{secret}/tls.key" not in self._secrets:
                certificate, private = self._authority.issue("tokenmint", "tokens.example.com")
                self._secrets |= {f"{secret}/tls.crt": certificate.decode(), f"{secret}/tls.key": private.decode()}
            return self._secrets[f"{secret}/{key}"].encode()
        # Each key-encryption key differs from the others.
        return (chr(ord("A") + len(secret) % 26) * 42 + "A=" if key == "key" else "a-secret").encode()
