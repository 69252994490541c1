"""Protocols, metrics, studies and reports."""
