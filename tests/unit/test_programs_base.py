"""What `builtin-programs` was shown, and that the weights that come with the package are of that recipe."""

import json
import random

from g2rpo.data.tasks import split_of
from g2rpo.data.tasks.programs import row_of
from g2rpo.lab.base_models.build_programs import ProgramsRecipe, draw_problem
from g2rpo.models import BUILTIN

RECIPE = ProgramsRecipe()


def test_it_is_shown_programs_of_the_train_split_alone():
    r = random.Random(0)
    problems = [draw_problem(r, 3) for _ in range(60)]
    assert {len(row_of(p)) for p in problems} == {1, 2, 3}
    assert {split_of(p) for p in problems} == {"train"}


def test_the_weights_are_those_of_the_recipe():
    assert json.loads((BUILTIN["builtin-programs"] / "recipe.json").read_text())["hash"] == RECIPE.hash
