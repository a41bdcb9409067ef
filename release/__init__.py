"""Everything that a release has: built the same way each time, summed, signed, and tried out (docs/releasing.md)."""
