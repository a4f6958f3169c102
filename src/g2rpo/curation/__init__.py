"""Judging data before models are trained on it: references through the graders, lengths, difficulty, which trace to take."""
