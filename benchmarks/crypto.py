"""The cost of the cryptography alone, here and now: the bound of every exchange. Prints JSON, microseconds."""

import json
import sys
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa


def cost(work: Callable[[], object], seconds: float) -> float:
    """Return the CPU microseconds of one ``work``."""
    work()
    count, begun = 0, time.thread_time()
    while time.thread_time() - begun < seconds:
        for _ in range(20):
            work()
        count += 20
    return (time.thread_time() - begun) / count * 1e6


def main() -> None:
    """Measure for as many seconds as the argument says, each of the three."""
    seconds = float(sys.argv[1])
    text = b"x" * 500
    provider = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public, signature = provider.public_key(), provider.sign(text, padding.PKCS1v15(), hashes.SHA256())
    curve = ec.generate_private_key(ec.SECP256R1())
    scheme, digest, ecdsa = padding.PKCS1v15(), hashes.SHA256(), ec.ECDSA(hashes.SHA256())
    print(
        json.dumps(
            {
                "rs256_verify_us": cost(lambda: public.verify(signature, text, scheme, digest), seconds),
                "es256_sign_us": cost(lambda: curve.sign(text, ecdsa), seconds),
                "rs256_sign_us": cost(lambda: provider.sign(text, scheme, digest), seconds),
            }
        )
    )


if __name__ == "__main__":
    main()
