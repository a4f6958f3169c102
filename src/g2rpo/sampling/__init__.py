"""Sampling with transformers: rows of ids in, continuations out. `sample.sample_rows` is the one way in.

sample.py     the entry point: which rows, which settings, which of the two ways below
decode.py     the fast way: a step costs what its unfinished rows cost, and no prompt token is computed twice
stock.py      the other way, `model.generate`, for models and settings that the fast one does not follow (it says which and why)
prepared.py   the forward pass of the fast way, for models built like Llama; its weights are laid out by packed.py
library.py    the library's forward pass, for all other models that the fast way can decode
recognise.py  which of these a model can have, and why not
draw.py       one token per row from logits: greedily, as `generate` draws, or by each row's own stream
cache.py      keys and values of rows of different length, side by side
prefill.py    which prompts need a forward pass at all, and how they share it
"""
