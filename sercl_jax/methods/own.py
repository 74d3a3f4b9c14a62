"""A method of one's own, in a file of one's own: what that file offers, and how it is read.

The file is a config file that also says what is trained. It offers

    get_config(arg)   the config, made on what `config` gives
    method(config)    a `Method`: three pure functions of the frames of utterances

and is run as `python -m sercl_jax.main --config=FILE[:CHOICES]`; configs/examples/vicreg.py is one. A method that
`Method` does not fit offers `source(config, bench, store, progress)`, a `sources.Source`, in its place; it embeds
untrained where `config.embedding` is UNTRAINED.

A workdir belongs to the text of the file that made it, which its model holds, so that it can embed other recordings.
"""

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax import Array
from ml_collections import ConfigDict

from sercl_jax import config as config_lib
from sercl_jax import files
from sercl_jax.errors import UserError
from sercl_jax.types import Batch, Metrics, Variables

OWN, UNTRAINED = "own", "own_untrained"  # as `config.embedding`


@dataclass(frozen=True)
class Method:
    """What is trained, and how it embeds an utterance.

    A batch holds "x" [B, N, F] float32 (frames, standardised, 0 where padded), "mask" [B, N] bool (false: padding)
    and "index" [B] int32 (the utterance's number in the corpus, for `graphs.utterance_keys`); in training also
    "valid" [B] bool (false: padding of the batch), "group" [B] int32 (speaker) and perhaps "label" [B] int32. More
    padding must change no loss and no embedding.

    Attributes:
      init: (key, batch of one utterance) -> variables, {"params": ..., ...}; only "params" is trained.
      loss: (variables, one device's part of the batch, key) -> (loss of the whole batch, metrics by name as (sum,
        count)). It runs under `parallel.AXIS`: `parallel.gather` joins what has to be compared.
      embed: (variables, batch) -> [B, D] float32, each utterance by itself.
      labels: whether the loss looks at "label", the class number (-1: none); then training=inductive is asked for, as
        otherwise labels of tested utterances would be trained on.
    """

    init: Callable[[Array, Batch], Variables]
    loss: Callable[[Variables, Batch, Array], tuple[Array, Metrics]]
    embed: Callable[[Variables, Batch], Array]
    labels: bool = False


def config(file: str | Path, argument: str | None, **defaults: Any) -> ConfigDict:
    """A config, unlocked, to add knobs to: corpora, folds, features, training and classifier as configs/serugcl.py
    has them, with its choices (but pooling).

    `config.nodes` is the largest number N of frames; longer utterances are averaged over adjacent ones.
    `config.method`, the name for tables, is the file's.

    Args:
      file: the method's file, `__file__`.
      argument: of `get_config`.
      defaults: of the choices, such as features="logmel".

    Raises:
      UserError: an unknown choice, or a value of the wrong type.
    """
    pooling, rest = config_lib.split_choices(argument, {"pooling": ""})
    if pooling["pooling"]:
        raise UserError("config choice 'pooling' is SERUGCL's; this method has none.")
    made = config_lib.base("serugcl", ",".join([*(f"{name}={value}" for name, value in defaults.items()), rest]))
    made.nodes = made.graph.nodes
    for section in ("graph", "views", "encoder", "loss"):
        del made[section]
    made.method = Path(file).stem
    made.method_file = str(Path(file).resolve())
    made.embedding = OWN
    return made


def text(config: ConfigDict) -> str:
    """The method's file.

    Raises:
      UserError: it cannot be read.
    """
    try:
        return Path(config.method_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{config.method_file}: the method's file cannot be read ({error}).") from error


def module(text: str, file: str) -> types.ModuleType:
    """Runs the text of a method's file, which came from `file`."""
    made = types.ModuleType(f"sercl_jax_own_{Path(file).stem}_{files.digest(text)}")
    made.__file__ = file
    sys.modules[made.__name__] = made  # where dataclasses, and so Flax's modules, look for their annotations
    exec(compile(text, file, "exec"), made.__dict__)
    return made


def of(module: types.ModuleType, config: ConfigDict) -> Method:
    """The method that a file offers.

    Raises:
      UserError: it offers none.
    """
    made = module.method(config) if hasattr(module, "method") else None
    if not isinstance(made, Method):
        found = "no function method" if made is None else f"a method(config) that returns a {type(made).__name__}"
        raise UserError(f"{module.__file__}: has {found}; method(config) must return a "
                        "sercl_jax.methods.own.Method (or source(config, bench, store, progress) a source).")
    return made
