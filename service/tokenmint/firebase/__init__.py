"""Firebase's SDK, imported only where it is used."""
