"""The store, Redis or Valkey: confirmed writes, notices, connections. The one room that imports the driver."""
