"""The store, Redis or Valkey: confirmed writes, notices, connections. Only this room imports the driver."""
