"""KeyAdminService."""

from collections.abc import Awaitable, Callable

from tokenmint.admission.callers import Role
from tokenmint.admission.gate import current_operator
from tokenmint.admission.validation import Violations
from tokenmint.base.errors import MethodDenied, NotFound
from tokenmint.keys.jwks_clients import JwksFetchLog
from tokenmint.keys.rotator import Rotator
from tokenmint.keys.signing_keys import SigningKeys
from tokenmint.keys.types import SigningKey
from tokenmint.rpc import convert
from tokenmint.rpc.interceptors import Context
from tokenmint.v1 import key_admin_service_pb2 as pb
from tokenmint.v1 import key_admin_service_pb2_grpc as pb_grpc
from tokenmint.v1 import signing_key_pb2


class KeyAdminService(pb_grpc.KeyAdminServiceServicer):
    """Manages the signing keys."""

    def __init__(
        self,
        signing_keys: SigningKeys,
        rotator: Rotator,
        verifiers: JwksFetchLog,
        reseal_others: Callable[[], Awaitable[None]],
    ) -> None:
        self._reseal_others = reseal_others
        self._signing_keys = signing_keys
        self._rotator = rotator
        self._verifiers = verifiers

    def _message(self, key: SigningKey | None) -> signing_key_pb2.SigningKey | None:
        if key is None:
            return None
        return convert.signing_key(key, self._signing_keys.schedule, self._signing_keys.ring)

    async def ListSigningKeys(self, request: pb.ListSigningKeysRequest, context: Context) -> pb.ListSigningKeysResponse:
        """List the keys, newest first within each algorithm."""
        keys = sorted(self._signing_keys.ring.keys, key=lambda key: (key.algorithm, -key.create_time, key.key_id))
        listed, following = convert.page(keys, request.page_size, request.page_token)
        messages = [message for key in listed if (message := self._message(key)) is not None]
        return pb.ListSigningKeysResponse(signing_keys=messages, next_page_token=following)

    async def GetSigningKey(self, request: pb.GetSigningKeyRequest, context: Context) -> pb.GetSigningKeyResponse:
        """Return one key."""
        key = self._signing_keys.ring.find(_key_id(request.key_id))
        if key is None:
            raise NotFound("signing key", request.key_id)
        return pb.GetSigningKeyResponse(signing_key=self._message(key))

    async def PrepareSigningKey(
        self, request: pb.PrepareSigningKeyRequest, context: Context
    ) -> pb.PrepareSigningKeyResponse:
        """Publish a prepared key if there is none."""
        key = await self._rotator.prepare(request.algorithm or None)
        return pb.PrepareSigningKeyResponse(signing_key=self._message(key))

    async def ActivateSigningKey(
        self, request: pb.ActivateSigningKeyRequest, context: Context
    ) -> pb.ActivateSigningKeyResponse:
        """Let a prepared key sign."""
        _check_force(force=request.force)
        done = await self._rotator.activate(_key_id(request.key_id), force=request.force, etag=request.etag)
        return pb.ActivateSigningKeyResponse(
            signing_key=self._message(done.key), verifiers_may_miss=convert.duration(done.verifiers_may_miss)
        )

    async def RotateSigningKey(
        self, request: pb.RotateSigningKeyRequest, context: Context
    ) -> pb.RotateSigningKeyResponse:
        """Let the prepared key sign and prepare the next."""
        _check_force(force=request.force)
        done = await self._rotator.rotate(request.algorithm or None, force=request.force, etag=request.etag)
        return pb.RotateSigningKeyResponse(
            active_key=self._message(done.active),
            prepared_key=self._message(done.prepared),
            retiring_key=self._message(done.retiring),
            verifiers_may_miss=convert.duration(done.verifiers_may_miss),
        )

    async def RevokeSigningKey(
        self, request: pb.RevokeSigningKeyRequest, context: Context
    ) -> pb.RevokeSigningKeyResponse:
        """Remove a key from use at once."""
        violations = Violations()
        violations.check("key_id", "is required", holds=bool(request.key_id))
        violations.check("reason", "is required: 1 to 200 characters", holds=0 < len(request.reason) <= 200)
        violations.raise_any()
        done = await self._rotator.revoke(
            request.key_id, request.reason, with_prepared=request.with_prepared, etag=request.etag
        )
        return pb.RevokeSigningKeyResponse(
            signing_key=self._message(done.revoked),
            active_key=self._message(done.active),
            verifiers_may_accept=convert.duration(done.verifiers_may_accept),
            verifiers_may_miss=convert.duration(done.verifiers_may_miss),
            replicas_may_sign=convert.duration(done.replicas_may_sign),
        )

    async def ResealSigningKeys(
        self, request: pb.ResealSigningKeysRequest, context: Context
    ) -> pb.ResealSigningKeysResponse:
        """Seal every private key, and the key of erased persons' hashes, under the first key-encryption key."""
        await self._reseal_others()
        resealed = await self._rotator.reseal()
        return pb.ResealSigningKeysResponse(
            signing_keys=[message for key in resealed if (message := self._message(key)) is not None],
            encryption_key_id=self._rotator.encryption_key_id,
        )

    async def GetKeyRingStatus(
        self, request: pb.GetKeyRingStatusRequest, context: Context
    ) -> pb.GetKeyRingStatusResponse:
        """Return the generation of each replica, and the fetches of each verifier."""
        replicas = await self._signing_keys.store.replicas()
        return pb.GetKeyRingStatusResponse(
            generation=self._signing_keys.ring.generation,
            replicas=[
                pb.KeyRingReplica(replica=replica, generation=generation)
                for replica, generation in sorted(replicas.items())
            ],
            verifiers=[
                pb.KeySetVerifier(
                    address=one.sighting.address,
                    agent=one.sighting.agent,
                    last_fetch_time=convert.timestamp(one.sighting.time),
                    generation=one.sighting.generation,
                    missing_key_ids=one.missing,
                )
                for one in await self._verifiers.known()
            ],
        )


def _key_id(key_id: str) -> str:
    violations = Violations()
    violations.check("key_id", "is required", holds=bool(key_id))
    violations.raise_any()
    return key_id


def _check_force(*, force: bool) -> None:
    if force and Role.SECURITY not in current_operator().roles:
        raise MethodDenied("force makes verifiers refuse tokens for a while: it needs the role 'security'")
