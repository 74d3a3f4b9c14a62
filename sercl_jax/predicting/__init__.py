"""What `python -m sercl_jax.predict` is made of: recordings in, lines of results out."""
