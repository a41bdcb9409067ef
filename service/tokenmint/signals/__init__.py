"""Signals of providers about accounts: received, applied and counted. Imports the rooms of layer 8 and below."""
