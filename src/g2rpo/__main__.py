"""`python -m g2rpo` and `accelerate launch -m g2rpo` are the command line."""

from g2rpo.cli.main import app

if __name__ == "__main__":
    app()
