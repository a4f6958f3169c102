"""`rlvr-graders self-test`: which sandbox levels work on this machine, and what each protects against."""

import sys

from rich.table import Table


def sandbox_table() -> Table:
    """One row per sandbox level of this machine: whether it works, and what it protects against and what not."""
    table = Table(
        title="sandbox for model-written programs (`auto` takes the first that isolates and works)",
        title_justify="left",
        show_lines=True,
    )
    for column in ("level", "here", "protects against", "does not protect against"):
        table.add_column(column)
    if sys.platform == "win32":
        table.add_row("local", "none on Windows", "", "use a remote sandbox, or the Windows Subsystem for Linux")
        return table
    from rlvr_graders.sandbox.levels import describe_levels

    listed: dict[tuple[str, ...], str] = {}
    for level in describe_levels():
        passed = sum(not problem for problem in level.probes.values())
        here = f"works: {passed} of {len(level.probes)} self-tests pass" if level.usable else f"no: {level.reason}"
        if level.name == "rlimits":
            here += ", but no isolation: only with allow_unsafe"
        table.add_row(level.name, here, _listed(level.protects, listed), _listed(level.does_not_protect, listed))
        listed |= {level.protects: level.name, level.does_not_protect: level.name}
    return table


def _listed(points: tuple[str, ...], listed: dict[tuple[str, ...], str]) -> str:
    """One line per point; a list that contains an earlier level's whole list names that level instead of repeating it."""
    for earlier, name in listed.items():
        if set(earlier) <= set(points):
            points = (f"all that {name} does", *(point for point in points if point not in earlier))
            break
    return "\n".join(f"- {point}" for point in points)
