"""What is done to the fleet and its store: a module for each part of it that is broken."""
