"""Is a stated final answer the gold answer? See docs/rewards.md."""

from rlvr_graders.math.grade import DEADLINE_S, MathGrade, grade_math, parse_gold
from rlvr_graders.math.reward import MathReward, math_accuracy

__all__ = ["DEADLINE_S", "MathGrade", "MathReward", "grade_math", "math_accuracy", "parse_gold"]
