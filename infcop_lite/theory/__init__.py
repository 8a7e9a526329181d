"""Equations that are not part of the method: bounds, identities, costs; one module a chapter."""
