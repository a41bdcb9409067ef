"""The meaning of a TLS handshake that failed, with the option that mends it."""

from tokenmint.cli.options import ConnectionOptions


def tls_failure(details: str, target: str, options: ConnectionOptions) -> tuple[str, int] | None:
    """Return the message and the exit status for the ``details`` of gRPC's error; None for another kind of error.

    No retry helps until the options or the certificates have changed, so the status is 2, but 3 where the service alone
    knows why it closed the connection.
    """
    if "WRONG_VERSION_NUMBER" in details:
        return f"{target}: does not speak TLS: leave {_given(options)} out, or name its listener with TLS (--target)", 2
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return _untrusted(details, target, options), 2
    if "Hostname Verification" in details:
        host = target.rpartition(":")[0]
        return (
            f"{target}: the service's certificate is not for the name {host}: give --target a name that it is for",
            2,
        )
    if "Socket closed" in details or "ALERT" in details:
        return f"{target}: the service closed the connection: {_closed(options)}", 3
    return None


def _given(options: ConnectionOptions) -> str:
    return "--ca-file" if options.ca_file is not None else "--cert-file" if options.cert_file is not None else "--tls"


def _untrusted(details: str, target: str, options: ConnectionOptions) -> str:
    why = details.rpartition("CERTIFICATE_VERIFY_FAILED: ")[2].partition(": OK")[0]
    if options.ca_file is not None:
        remedy = f"no authority in {options.ca_file} has signed it: name the right file with --ca-file"
    else:
        remedy = "no public authority has signed it: name the file of its authority (PEM) with --ca-file"
    if "expired" in why or "not yet valid" in why:
        remedy = "renew it, or set this machine's clock right"
    return f"{target}: the service's certificate is not trusted ({why}): {remedy}"


def _closed(options: ConnectionOptions) -> str:
    if not options.uses_tls:
        return (
            "is it stopping, does it use TLS (--tls or --ca-file), or need a certificate (--cert-file and --key-file)?"
        )
    if options.cert_file is None:
        return "does it need a certificate (--cert-file and --key-file)?"
    return f"does it trust the authority of {options.cert_file} (--cert-file)?"
