"""Gymnasium families, and policies that act in them."""
