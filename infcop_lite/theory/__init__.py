"""Equations that are not part of the method, with bounds and identities; one module a chapter."""
