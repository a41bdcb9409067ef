"""Three regions with a store each, whose links are cut: `make chaos TOPOLOGY=regions`."""
