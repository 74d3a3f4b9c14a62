"""Neural networks (Flax Linen)."""
