"""Client credentials in an HTTP request (RFC 6749 section 2.3, RFC 7521 section 4.2, RFC 8705)."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import unquote_plus

from starlette.requests import Request

from tokenmint.admission.callers import Credentials
from tokenmint.admission.certificates import PeerCertificate, peer_certificate
from tokenmint.base.errors import CallerUnauthenticated, FieldViolation, InvalidRequest
from tokenmint.model.secret import Secret
from tokenmint.web.forms import Form, single
from tokenmint.web.protocol import PEER_CERTIFICATE

JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_SPIFFE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
"""A JWT-SVID (draft-ietf-oauth-spiffe-client-auth section 3.1)."""
AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post", "private_key_jwt", "none")
"""The client authentication methods by their names in metadata (RFC 8414 section 2); `none` is for public clients."""
SPIFFE_METHOD: Final = "spiffe_jwt"  # as the draft names it in metadata
CERTIFICATE_METHOD: Final = "tls_client_auth"  # RFC 8705 section 2.1.1, if the listener has a CA for clients


def certificate(request: Request) -> PeerCertificate | None:
    """Return the client certificate that the TLS handshake verified."""
    der: bytes | None = getattr(request.state, PEER_CERTIFICATE, None)
    return peer_certificate(der) if der else None


def credentials_of(request: Request, form: Form) -> Credentials:
    """Return the credentials of a request. Raises as :func:`credentials_in`."""
    return credentials_in(request.headers.getlist("authorization"), form, certificate(request))


def credentials_in(basic: Sequence[str], form: Form, verified: PeerCertificate | None) -> Credentials:
    """Return the credentials in the Authorization fields, the form and the certificate of a request.

    Raises:
        InvalidRequest: the request has more than one (RFC 6749 section 2.3).
        CallerUnauthenticated: a credential can't be parsed.
    """
    secret, assertion = single(form, "client_secret"), single(form, "client_assertion")
    if len(basic) + bool(secret) + bool(assertion) > 1:
        raise InvalidRequest([FieldViolation("client", "more than one client authentication: use one")])
    identifier = single(form, "client_id") or None
    identities = verified.identities if verified is not None else ()
    thumbprint = verified.thumbprint if verified is not None else None
    shown = Credentials(identifier, certificates=identities, certificate_sha256=thumbprint)
    if basic:
        name, basic_secret = _basic(basic[0])
        if identifier not in (None, name):
            raise CallerUnauthenticated(detail="the client_id of the body differs from the one in the header")
        return replace(shown, identifier=name, secret=basic_secret)
    if assertion:
        kind = single(form, "client_assertion_type")
        if kind not in (JWT_BEARER, JWT_SPIFFE):
            raise CallerUnauthenticated(detail=f"client_assertion_type is neither {JWT_BEARER} nor {JWT_SPIFFE}")
        if kind == JWT_SPIFFE:
            return replace(shown, svid=Secret(assertion))
        return replace(shown, signed=Secret(assertion))
    return replace(shown, secret=Secret(secret)) if secret else shown


def _basic(header: str) -> tuple[str, Secret]:
    """Parse `Basic`: id and secret, each form-encoded, then joined, then in base64 (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise CallerUnauthenticated(detail="the Authorization header is not Basic")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
        name, separator, secret = text.partition(":")
        name, secret = unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        separator, name, secret = "", "", ""
    if not separator or not name or not secret:
        raise CallerUnauthenticated(detail="the Authorization header does not hold Basic credentials")
    return name, Secret(secret)
