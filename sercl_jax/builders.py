"""Makes our corpora known to TFDS by name, wherever the package is installed.

    tfds build --imports=sercl_jax.builders emodb --manual_dir=... --data_dir=...
"""

from typing import Any

import tensorflow_datasets as tfds

from sercl_jax.corpora import registry


class _Provider:
    """A `tfds.core.DatasetBuilderProvider`."""

    def has_dataset(self, name: str) -> bool:
        return name in registry.names()

    def get_builder_cls(self, name: str) -> Any:
        return registry.builder_class(name)


# First, because TFDS has a librispeech of its own, which downloads all of it.
tfds.core.add_dataset_builder_provider(_Provider(), index=0)
