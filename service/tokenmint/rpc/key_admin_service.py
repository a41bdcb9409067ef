"""KeyAdminService."""

from tokenmint.callers import Role
from tokenmint.errors import MethodDenied, NotFound
from tokenmint.keys.keychain import Keychain
from tokenmint.keys.types import SigningKey
from tokenmint.rpc import convert
from tokenmint.rpc.interceptors import Context, current_operator
from tokenmint.v1 import key_admin_service_pb2 as pb
from tokenmint.v1 import key_admin_service_pb2_grpc as pb_grpc
from tokenmint.v1 import signing_key_pb2


class KeyAdminService(pb_grpc.KeyAdminServiceServicer):
    """Moves the signing keys through their life."""

    def __init__(self, keychain: Keychain) -> None:
        self._keychain = keychain

    def _message(self, key: SigningKey | None) -> signing_key_pb2.SigningKey | None:
        if key is None:
            return None
        return convert.signing_key(key, self._keychain.schedule, self._keychain.ring.etag)

    async def ListSigningKeys(self, request: pb.ListSigningKeysRequest, context: Context) -> pb.ListSigningKeysResponse:
        """List the keys, newest first within each algorithm."""
        keys = sorted(self._keychain.ring.keys, key=lambda key: (key.algorithm, -key.create_time, key.key_id))
        found, following = convert.page(keys, request.page_size, request.page_token)
        messages = [message for key in found if (message := self._message(key)) is not None]
        return pb.ListSigningKeysResponse(signing_keys=messages, next_page_token=following)

    async def GetSigningKey(self, request: pb.GetSigningKeyRequest, context: Context) -> pb.GetSigningKeyResponse:
        """Return one key."""
        key = self._keychain.ring.find(_key_id(request.key_id))
        if key is None:
            raise NotFound("signing key", request.key_id)
        return pb.GetSigningKeyResponse(signing_key=self._message(key))

    async def PrepareSigningKey(
        self, request: pb.PrepareSigningKeyRequest, context: Context
    ) -> pb.PrepareSigningKeyResponse:
        """Publish a prepared key where there is none."""
        key = await self._keychain.prepare(request.algorithm or None)
        return pb.PrepareSigningKeyResponse(signing_key=self._message(key))

    async def ActivateSigningKey(
        self, request: pb.ActivateSigningKeyRequest, context: Context
    ) -> pb.ActivateSigningKeyResponse:
        """Let a prepared key sign."""
        _check_force(force=request.force)
        done = await self._keychain.activate(_key_id(request.key_id), force=request.force, etag=request.etag)
        return pb.ActivateSigningKeyResponse(
            signing_key=self._message(done.key), verifiers_may_miss=convert.duration(done.verifiers_may_miss)
        )

    async def RotateSigningKey(
        self, request: pb.RotateSigningKeyRequest, context: Context
    ) -> pb.RotateSigningKeyResponse:
        """Let the prepared key sign and prepare the next."""
        _check_force(force=request.force)
        done = await self._keychain.rotate(request.algorithm or None, force=request.force, etag=request.etag)
        return pb.RotateSigningKeyResponse(
            active_key=self._message(done.active),
            prepared_key=self._message(done.prepared),
            retiring_key=self._message(done.retiring),
            verifiers_may_miss=convert.duration(done.verifiers_may_miss),
        )

    async def RevokeSigningKey(
        self, request: pb.RevokeSigningKeyRequest, context: Context
    ) -> pb.RevokeSigningKeyResponse:
        """Take a key out of use at once."""
        violations = convert.Violations()
        violations.check("key_id", "is required", holds=bool(request.key_id))
        violations.check("reason", "is required: 1 to 200 characters", holds=0 < len(request.reason) <= 200)
        violations.raise_any()
        done = await self._keychain.revoke(request.key_id, request.reason, etag=request.etag)
        return pb.RevokeSigningKeyResponse(
            signing_key=self._message(done.revoked),
            active_key=self._message(done.active),
            verifiers_may_accept=convert.duration(done.verifiers_may_accept),
            verifiers_may_miss=convert.duration(done.verifiers_may_miss),
        )


def _key_id(key_id: str) -> str:
    violations = convert.Violations()
    violations.check("key_id", "is required", holds=bool(key_id))
    violations.raise_any()
    return key_id


def _check_force(*, force: bool) -> None:
    if force and Role.SECURITY not in current_operator().roles:
        raise MethodDenied("forcing makes verifiers refuse tokens for a while: it needs the role 'security'")
