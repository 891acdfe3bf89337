"""Modules that several tools share."""
