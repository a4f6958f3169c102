"""A sample of rollouts as a table in the tracker of a run, the guided part marked."""

from typing import Any

EVERY = 10
"""Generation batches from one table to the next."""
ROWS = 8
COLUMNS = ("step", "problem", "answer", "rollout", "revealed", "completion", "success", "advantage")


class RolloutTable:
    """A sink of `trainer.rollout_sinks` that writes to the trackers in `report_to`: a table in W&B and Trackio, a text in
    TensorBoard."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.writers = [write for name, write in _WRITERS.items() if name in trainer.args.report_to]

    def __call__(self, generation: int, rows: list[dict[str, Any]]) -> None:
        if generation % EVERY == 0 and self.writers:
            table = self.table(rows)
            for write in self.writers:
                write(self.trainer, table)

    def table(self, rows: list[dict[str, Any]]) -> list[tuple]:
        """The first rollouts, one tuple per row in the order of `COLUMNS`; what was given stands in ⟦ ⟧."""
        decode = self.trainer._tokenizer.decode
        found = []
        for row in rows[:ROWS]:
            given = row["completion_ids"][: row["guidance_tokens"]]
            told = decode(row["completion_ids"][len(given) :], skip_special_tokens=True)
            text = (f"⟦{decode(given, skip_special_tokens=True)}⟧" if given else "") + told
            found.append(
                (
                    self.trainer.state.global_step,
                    row["prompt"],
                    row["answer"],
                    row["rollout_index"],
                    row["fraction"],
                    text,
                    row["success"],
                    row["advantage"],
                )
            )
        return found


def _wandb(trainer: Any, table: list[tuple]) -> None:
    import wandb

    if wandb.run is not None:
        wandb.log({"rollouts": wandb.Table(columns=list(COLUMNS), data=[list(row) for row in table])}, commit=False)


def _trackio(trainer: Any, table: list[tuple]) -> None:
    import pandas
    import trackio

    trackio.log({"rollouts": trackio.Table(dataframe=pandas.DataFrame(table, columns=list(COLUMNS)))})


def _tensorboard(trainer: Any, table: list[tuple]) -> None:
    writer = next((w for c in trainer.callback_handler.callbacks if (w := getattr(c, "tb_writer", None)) is not None), None)
    if writer is None:
        return
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in table:
        cells = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |")
    writer.add_text("rollouts", "\n".join(lines), trainer.state.global_step)


_WRITERS = {"wandb": _wandb, "trackio": _trackio, "tensorboard": _tensorboard}
