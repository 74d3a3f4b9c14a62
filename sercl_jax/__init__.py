"""Contrastive learning for speech emotion recognition on JAX.

Importing the package is cheap: nothing here imports JAX, so that worker processes start quickly.
"""

__version__ = "0.1.0"
