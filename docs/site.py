"""MkDocs hook: the site is the repository's Markdown where it is, so that one set of links works on the site and on a forge.

Pages are README, docs/, research/, examples/, recipes/ and graders/. Files that they link to (sources, tests, result files) are
copied beside them. Equations in ```math blocks become MathML, without scripts.
"""

from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

PARTS = ("README.md", "docs", "research", "examples", "recipes", "graders", "src", "tests")
SUFFIXES = {".md", ".py", ".yaml", ".toml", ".json", ".jsonl", ".svg", ".png"}
GENERATED = Path("build/reference")
"""Reference pages that `make docs` writes with the package's own commands."""


def on_config(config):
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [{"name": "math", "class": "math", "format": math}]}
    return config


def on_files(files, config):
    root = Path(config.config_file_path).parent
    place = (str(root), config.site_dir, config.use_directory_urls)
    found = [path for part in PARTS for path in ((root / part).rglob("*") if (root / part).is_dir() else [root / part])]
    names = sorted(
        str(path.relative_to(root)) for path in found if path.suffix in SUFFIXES and not path.parent.name.startswith(".")
    )
    pages = [File(name, *place) for name in names if name != "docs/site.py"]
    pages += [
        File.generated(config, f"docs/reference/{page.name}", content=page.read_text(encoding="utf-8"))
        for page in sorted((root / GENERATED).glob("*.md"))
    ]
    return Files([*(f for f in files if not (root / "docs" / f.src_uri).exists()), *pages])


def math(source, language, css_class, options, md, **kwargs):
    return f'<div class="{css_class}">{convert(source, display="block")}</div>'
