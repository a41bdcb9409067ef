"""A certificate for localhost, made on the spot."""

import datetime
import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.issuer import ec_key

from tokenmint.model.secret import Secret

PROXY = Secret("tms_test-proxy")
FORWARDED = f'forwarded = {{{{ secrets = ["sha256:{PROXY.fingerprint()}"] }}}}\n'
"""The ``listen`` argument of `running` for a proxy with the secret `PROXY`."""


def certificate(directory: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate and its key; return both paths."""
    key = ec_key(9)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    built = _certifying(_identified(builder, key.public_key(), key.public_key())).sign(key, hashes.SHA256())
    cert_file, key_file = directory / "tls.crt", directory / "tls.key"
    cert_file.write_bytes(built.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert_file, key_file


@dataclass(frozen=True)
class Authority:
    """A certificate authority for tests."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(self, subject: str, *names: str, serial: int = 100) -> tuple[bytes, bytes]:
        """Return certificate and key, in PEM, for a subject's CN and names: URIs, or DNS names, or 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(name) if "://" in name
            else x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
            for name in names
        ]  # fmt: skip
        builder = _builder(subject, self.certificate.subject, key, serial)
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        if _is_identified(self.certificate):
            builder = _identified(builder, key.public_key(), self.key.public_key())
        signed = builder.sign(self.key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return signed.public_bytes(Encoding.PEM), private


def authority(name: str = "Test authority", above: Authority | None = None, *, identified: bool = True) -> Authority:
    """Make an authority: its own, or one below another. ``identified``: with the extensions that RFC 5280 wants."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = above.certificate.subject if above else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(name, issuer, key, 1).add_extension(
        x509.BasicConstraints(ca=True, path_length=0 if above else 1), critical=True
    )
    if identified:
        builder = _certifying(_identified(builder, key.public_key(), (above.key if above else key).public_key()))
    return Authority(builder.sign(above.key if above else key, hashes.SHA256()), key)


def _identified(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey, issuer: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    """Add what RFC 5280 4.2.1.1 and 4.2.1.2 want."""
    of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
    of_subject = x509.SubjectKeyIdentifier.from_public_key(key)
    return builder.add_extension(of_issuer, critical=False).add_extension(of_subject, critical=False)


def _certifying(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    """Add the key usage of an authority (RFC 5280 4.2.1.3) that also serves, as a self-signed certificate does."""
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    unused = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, **unused)
    return builder.add_extension(usage, critical=True)


def _is_identified(certificate: x509.Certificate) -> bool:
    return any(extension.oid == x509.SubjectKeyIdentifier.oid for extension in certificate.extensions)


def _builder(subject: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, serial: int) -> x509.CertificateBuilder:
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
    )


def forwarded(pem: bytes, secret: Secret = PROXY) -> tuple[tuple[str, str], ...]:
    """Return the metadata that Envoy adds to the calls of a client with a certificate (deploy/envoy/native.yaml)."""
    return (("x-forwarded-client-cert", element(pem)), ("tokenmint-proxy-secret", secret.reveal()))


def element(pem: bytes) -> str:
    """Return what Envoy says of a certificate."""
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    return f'Hash={hashlib.sha256(der).hexdigest()};Cert="{quote(pem.decode(), safe="")}"'
