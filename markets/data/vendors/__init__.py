"""Vendors of market data."""
