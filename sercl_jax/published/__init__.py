"""What the papers print, as data, to stand beside what is measured here.

Every score is a fraction, as in `results.json`, also where a paper prints percentages. Corpora go by the names of the
configs: `iemocap`, `emodb`, `msp_podcast`, `casia`. A table is row name -> corpus -> a named tuple of its
metrics: numbers or, where the paper has standard deviations, `Reported` pairs.
"""

from collections.abc import Mapping

from sercl_jax.published import cpc_2021, serugcl_2026, supcon_2024
from sercl_jax.published.cpc_2021 import CPC_TABLE1, CPC_TABLE2, SETUPS, Concordance, Reported, cpc
from sercl_jax.published.serugcl_2026 import (
    SERUGCL,
    TABLE1,
    TABLE2,
    TABLE3,
    TABLE4,
    TABLE5,
    TABLE6,
    TABLE7,
    OtherResult,
    PoolingWeights,
    Score,
    serugcl,
)
from sercl_jax.published.supcon_2024 import (
    SUPCON,
    SUPCON_ENCODERS,
    SUPCON_TABLE1,
    SUPCON_TABLE2,
    UnweightedAccuracy,
    supcon,
)

__all__ = [
    "CPC_TABLE1",
    "CPC_TABLE2",
    "NOTES",
    "PROTOCOLS",
    "SERUGCL",
    "SETUPS",
    "SUPCON",
    "SUPCON_ENCODERS",
    "SUPCON_TABLE1",
    "SUPCON_TABLE2",
    "TABLE1",
    "TABLE2",
    "TABLE3",
    "TABLE4",
    "TABLE5",
    "TABLE6",
    "TABLE7",
    "Concordance",
    "OtherResult",
    "PoolingWeights",
    "Reported",
    "Score",
    "UnweightedAccuracy",
    "cpc",
    "serugcl",
    "supcon",
]
# What must be said wherever one of these stands beside a measurement, and of a table's protocol.
NOTES: Mapping[str, str] = {**serugcl_2026.NOTES, **cpc_2021.NOTES, **supcon_2024.NOTES}
PROTOCOLS: Mapping[str, str] = {**serugcl_2026.PROTOCOLS, **cpc_2021.PROTOCOLS, **supcon_2024.PROTOCOLS}
