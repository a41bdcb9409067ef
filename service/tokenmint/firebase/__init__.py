"""Firebase's SDK, imported where it is used and nowhere else."""
