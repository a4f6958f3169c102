"""Does the program in an answer pass its tests? See docs/sandbox.md."""

from g2rpo.rewards.code.extract import extract_code
from g2rpo.rewards.code.grade import CodeGrade, grade_programs
from g2rpo.rewards.code.reward import CodeReward
from g2rpo.rewards.code.tests import parse_tests

__all__ = ["CodeGrade", "CodeReward", "extract_code", "grade_programs", "parse_tests"]
