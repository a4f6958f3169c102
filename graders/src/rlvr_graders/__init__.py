"""Graders for RL with verifiable rewards: math answers, programs against tests, form and length. No torch, no transformers."""

__version__ = "0.1.0"
