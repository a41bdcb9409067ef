"""The table of signing keys: their schedule, their encryption, and their signer."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tokenmint.base.files import read_text
from tokenmint.base.http_url import BadUrl, HttpUrl
from tokenmint.config.settings import Pkcs11
from tokenmint.config.tables import File
from tokenmint.keys.schedule import Schedule
from tokenmint.model.policy import Audience
from tokenmint.model.secret import Secret, shown

ALGORITHMS: Final = ("ES256", "RS256", "EdDSA")
EXTERNAL_ALGORITHMS: Final = ("ES256", "RS256")  # the algorithms of security modules and key management services


class KeyRules:
    """Reads the table of keys.

    Args:
        file: the whole file.
        base: the directory of relative paths.
        problems: receives the problems.
    """

    def __init__(self, file: File, base: Path, problems: list[str]) -> None:
        self._file = file
        self._base = base
        self._problems = problems
        self._check()

    def schedule(self, audiences: Mapping[str, Audience]) -> Schedule:
        """Return the schedule of keys for tokens of these ``audiences``."""
        keys = self._file.keys
        schedule = Schedule(
            replica_lag=keys.replica_lag,
            max_age=keys.max_age,
            verifier_cache=keys.verifier_cache,
            max_lifetime=float(
                max(
                    (audience.max_lifetime for audience in audiences.values() if audience.format.signed_by_ring),
                    default=3600,
                )
            ),
            skew=keys.skew,
            publish_ahead=keys.publish_ahead,
            rotation_interval=keys.rotation_interval,
            region_lag=self._file.regions.longest_cut if self._file.regions.others else 0.0,
        )
        self._problems.extend(f"keys: {problem}" for problem in schedule.problems())
        return schedule

    def encryption_key(self) -> Secret | None:
        """Return the key that encrypts signing keys."""
        keys = self._file.keys
        if keys.encryption_key is not None:
            return self._decoded("TOKENMINT_KEYS__ENCRYPTION_KEY", keys.encryption_key)
        if keys.encryption_key_file is not None:
            path = self._base / keys.encryption_key_file
            try:
                return self._decoded("keys.encryption_key_file", read_text(path))
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "not a text file"
                self._problems.append(f"keys.encryption_key_file: {shown(path)} can't be read ({why})")
                return None
        if self._file.redis.url:
            self._problems.append(
                "keys.encryption_key_file: is required with redis.url: it encrypts the signing keys, and "
                "must not lie in the store; `tokenmint init` makes one"
            )
        return None

    def other_encryption_keys(self) -> tuple[Secret, ...]:
        """Return the other keys that may have encrypted signing keys."""
        keys = []
        for name in self._file.keys.other_encryption_key_files:
            try:
                key = self._decoded(f"keys.other_encryption_key_files: {name}", read_text(self._base / name))
            except (OSError, UnicodeDecodeError):
                self._problems.append(f"keys.other_encryption_key_files: {shown(self._base / name)} can't be read")
                continue
            if key is not None:
                keys.append(key)
        return tuple(keys)

    def pkcs11(self) -> Pkcs11 | None:
        """Return the security module."""
        table = self._file.keys.pkcs11
        if table is None:
            return None
        try:
            pin = read_text(self._base / table.pin_file).strip()
        except (OSError, UnicodeDecodeError):
            self._problems.append(f"keys.pkcs11.pin_file: {shown(self._base / table.pin_file)} can't be read")
            return None
        return Pkcs11(self._base / table.module, table.token, Secret(pin))

    def _check(self) -> None:
        """Check the algorithms, and that the signer supports them."""
        keys = self._file.keys
        for algorithm in keys.algorithms:
            if algorithm not in ALGORITHMS:
                self._problems.append(f"keys.algorithms: expected some of {', '.join(ALGORITHMS)}")
        if not keys.algorithms:
            self._problems.append(f"keys.algorithms: is empty: expected some of {', '.join(ALGORITHMS)}")
        self._check_endpoint()
        if keys.signer == "local":
            return
        if getattr(keys, keys.signer.replace("-", "_")) is None:
            self._problems.append(
                f"keys.signer: {keys.signer!r} needs the table [keys.{keys.signer.replace('-', '_')}]"
            )
        unable = [name for name in keys.algorithms if name not in EXTERNAL_ALGORITHMS]
        if unable:
            self._problems.append(
                f"keys.algorithms: the signer {keys.signer} supports {' and '.join(EXTERNAL_ALGORITHMS)}, "
                f"not {', '.join(unable)}"
            )

    def _check_endpoint(self) -> None:
        table = self._file.keys.aws_kms
        if table is not None and table.endpoint_url is not None:
            try:
                HttpUrl.parse(table.endpoint_url)
            except BadUrl as error:
                self._problems.append(f"keys.aws_kms.endpoint_url: {error}")

    def _decoded(self, name: str, text: str) -> Secret | None:
        try:
            key = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != 32:
            self._problems.append(f"{name}: expected 32 bytes in base64url: `tokenmint init` makes one")
            return None
        return Secret(key)
