"""The sources of signing keys: the store, PKCS#11 modules, AWS KMS."""
