"""Django middleware: a request is served only with a good token (RFC 6750)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.encoding import escape_uri_path

from tokenmint_client.bearer import enter
from tokenmint_client.errors import VerificationError
from tokenmint_client.refusals import Door, Presented, Refusal
from tokenmint_client.resource import RequestProof
from tokenmint_client.types import VerifiedToken
from tokenmint_client.verifier import AsyncVerifier, Verifier


class TokenMiddleware:
    """Serves a request only with a good token. `request.auth` and `current_token()` return it.

    The name is the one that Django REST framework has for it. `request.user` stays that of Django's own sessions.
    Settings: ``TOKENMINT_VERIFIER``, a :class:`Verifier`, or under ASGI an :class:`AsyncVerifier`;
    ``TOKENMINT_SCOPES``, what each request needs; ``TOKENMINT_PUBLIC``, paths that need no token, exactly as they are
    requested; ``TOKENMINT_RESOURCE``, a :class:`ProtectedResource`, without which bound tokens are refused;
    ``TOKENMINT_CERTIFICATE``, a function that returns the client's certificate of a request in DER, or None.

    Raises:
        ImproperlyConfigured: there is no verifier, or under WSGI one for asyncio.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._verifier: Any = getattr(settings, "TOKENMINT_VERIFIER", None)
        self._door = Door(
            tuple(getattr(settings, "TOKENMINT_SCOPES", ())), getattr(settings, "TOKENMINT_RESOURCE", None)
        )
        self._certificate = getattr(settings, "TOKENMINT_CERTIFICATE", _no_certificate)
        self._public = frozenset(getattr(settings, "TOKENMINT_PUBLIC", ()))
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        if not isinstance(self._verifier, (Verifier, AsyncVerifier) if self._is_async else Verifier):
            raise ImproperlyConfigured("TOKENMINT_VERIFIER: expected a Verifier, or under ASGI an AsyncVerifier")

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer(request)
        if request.path not in self._public:
            if (document := self._metadata(request)) is not None:
                return document
            try:
                sent = self._door.presented(_values(request, "HTTP_AUTHORIZATION"))
                self._accept(request, sent, self._verify(sent, self._possession(request, sent)))
            except Refusal as refusal:
                return _answer_of(refusal)
        response: HttpResponseBase = self._get_response(request)
        return response

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        if request.path not in self._public:
            if (document := self._metadata(request)) is not None:
                return document
            try:
                sent = self._door.presented(_values(request, "HTTP_AUTHORIZATION"))
                self._accept(request, sent, await self._verify_async(sent, self._possession(request, sent)))
            except Refusal as refusal:
                return _answer_of(refusal)
        response: HttpResponseBase = await self._get_response(request)
        return response

    def _metadata(self, request: HttpRequest) -> HttpResponse | None:
        resource = self._door.resource
        if resource is None or escape_uri_path(request.path) != resource.metadata_path:
            return None
        status, headers, body = resource.answer(request.method or "")
        return HttpResponse(body, status=status, headers=headers)

    def _possession(self, request: HttpRequest, sent: Presented) -> RequestProof | None:
        proofs = [
            one for value in _values(request, "HTTP_DPOP") for one in value.split(",")
        ]  # WSGI joins headers by it
        path = escape_uri_path(request.path)
        return self._door.possession(sent, request.method or "", path, proofs, self._certificate(request))

    def _verify(self, sent: Presented, possession: RequestProof | None) -> VerifiedToken:
        try:
            token: VerifiedToken = self._verifier.verify(sent.token, possession=possession)
        except VerificationError as error:
            raise self._door.refused(error, sent, self._verifier.clock()) from None
        return token

    async def _verify_async(self, sent: Presented, possession: RequestProof | None) -> VerifiedToken:
        if isinstance(self._verifier, Verifier):
            return await asyncio.to_thread(self._verify, sent, possession)  # it may fetch the key set
        try:
            token: VerifiedToken = await self._verifier.verify(sent.token, possession=possession)
        except VerificationError as error:
            raise self._door.refused(error, sent, self._verifier.clock()) from None
        return token

    def _accept(self, request: HttpRequest, sent: Presented, token: VerifiedToken) -> None:
        self._door.require(token, sent)
        request.auth = token
        enter(token)


def _no_certificate(_: HttpRequest) -> None:
    return None


def _values(request: HttpRequest, name: str) -> list[str]:
    sent = request.META.get(name)
    return [] if sent is None else [sent]


def _answer_of(refusal: Refusal) -> JsonResponse:
    return JsonResponse({"error": refusal.message}, status=refusal.status, headers=refusal.headers)
