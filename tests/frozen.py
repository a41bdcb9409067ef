"""Imported last by the process that forks services, so that no fork does again what each process does once.

It knows the numbers by which keys are judged, and nothing that it has loaded is looked at for garbage.
"""

import gc

from tests.issuer import rsa_key

from tokenmint.verification.weak_keys import rsa_weakness

assert not rsa_weakness(rsa_key(1).public_key().public_numbers().n)
gc.collect()
gc.freeze()
