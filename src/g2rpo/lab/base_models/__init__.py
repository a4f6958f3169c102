"""How the built-in models were made: a script per model, and their tokenizer."""
