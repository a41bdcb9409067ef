"""Requests at gateways: their tokens and audiences, and the answers; imports admission/ and the layers below."""
