"""The sidecar of gateways: it keeps answers of a tokenmint elsewhere; imports web/ and the layers below."""
