"""Tables that come with a corpus."""

import csv
import io
from collections.abc import Sequence

from sercl_jax.corpora.archives import Entry
from sercl_jax.errors import UserError


def read(entry: Entry, columns: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """These columns of a CSV file with a header; raises `UserError` if it lacks one, or is no such file."""
    try:
        reader = csv.DictReader(io.StringIO(entry.read().decode("utf-8-sig"), newline=""), delimiter=delimiter)
        if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
            raise UserError(f"{entry}, line 1: the column {missing[0]!r} is missing; found "
                            f"{', '.join(reader.fieldnames or ['nothing'])}. Download the corpus again.")
        rows = []
        for row in reader:
            if any(row[column] is None for column in columns):
                raise UserError(f"{entry}, line {reader.line_num}: has fewer cells than the header; download the "
                                "corpus again.")
            rows.append({column: row[column].strip() for column in columns})
        return rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{entry}: is not a table in UTF-8 ({error}); download the corpus again.") from error
