"""Does the program in an answer pass its tests? See docs/sandbox.md."""

from rlvr_graders.code.extract import extract_code
from rlvr_graders.code.grade import CodeGrade, grade_programs
from rlvr_graders.code.reward import CodeReward
from rlvr_graders.code.tests import parse_tests

__all__ = ["CodeGrade", "CodeReward", "extract_code", "grade_programs", "parse_tests"]
