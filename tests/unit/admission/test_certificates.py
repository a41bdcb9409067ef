"""The identities in a client's certificate."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tokenmint.admission.certificates import peer_certificate


def test_rfc_4501_a_uri_passes_for_no_dns_name_and_no_subject() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "worker")])
    uris = ("dns:pay.example", "DNS:pay.example", "subject:CN=pay", "spiffe://prod.example/worker")
    alternative = [x509.UniformResourceIdentifier(uri) for uri in uris]
    begin = datetime(2027, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([*alternative, x509.DNSName("Worker.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    proved = peer_certificate(certificate.public_bytes(Encoding.DER))
    assert proved.identities == ("subject:CN=worker", "spiffe://prod.example/worker", "dns:worker.example")
