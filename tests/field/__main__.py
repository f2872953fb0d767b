"""Print what holds of each training code: ``python -m tests.field``."""

import torch

from tests.field import harness
from tests.field.codes import LIBRARIES, PLAIN, WAITING, of_library

COLUMNS = (
    "code",
    "losses and weights of its own loop",
    "rewind, branch, replay, open",
    "script ends with the same loss",
)


def main():
    """Print the table, and how many codes hold in each column."""
    torch.set_num_threads(1)
    print("|".join(["", *COLUMNS, ""]))
    print("|---" * len(COLUMNS) + "|")
    rows = []
    for code in [*PLAIN, *LIBRARIES]:
        try:
            row = row_of(code if code in PLAIN else of_library(code))
        except ModuleNotFoundError as error:
            row = [code, f"needs {error.name}", "", ""]
        print("|".join(["", *row, ""]), flush=True)
        rows.append(row)
    for name, reason in WAITING.items():
        rows.append([name, reason, "", ""])
        print("|".join(["", *rows[-1], ""]))
    held = [sum(row[column] in ("the same", "exact") for row in rows) for column in range(1, len(COLUMNS))]
    print("|".join(["", f"of {len(rows)}", *map(str, held), ""]))


def row_of(code):
    """Return what holds of a code, in words."""
    name = (code.__doc__ or "").partition(":")[0]
    alike = "the same" if harness.does_as_the_loop(code) else "others"
    past = harness.past_is_exact(code)
    parted = [what for what, is_exact in past.items() if not is_exact]
    exact = "not exact: " + ", ".join(parted) if parted else "exact"
    try:
        script = "the same" if harness.script_ends_alike(code) else "another"
    except ValueError as error:
        script = f"refused: {error}"
    return [name, alike, exact, script]


if __name__ == "__main__":
    main()
