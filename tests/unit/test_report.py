"""Pages and figures as pure functions of what is on disk: complete, self-contained, accessible, the same bytes every time."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from g2rpo.errors import RunError
from g2rpo.lab.report.figures import MOST_POINTS, lines, smoothed, thinned
from g2rpo.lab.report.write import markdown_of, write_report
from g2rpo.method.rollout import GUIDANCE, PROMPT, SAMPLED


class Outline(HTMLParser):
    """Tags, ids, references and addresses of a page; unclosed or misnested elements are errors."""

    VOID = ("meta", "link", "br", "img", "path", "use", "rect", "image", "line", "circle")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tags, self.ids, self.used, self.addresses = [], [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        self.ids += [values["id"]] if "id" in values else []
        for name in ("href", "xlink:href", "src", "clip-path", "aria-labelledby"):
            value = values.get(name) or ""
            self.used += (
                re.findall(r"url\(#([^)]+)\)", value)
                + re.findall(r"^#(.+)", value)
                + ([value] if name == "aria-labelledby" and value else [])
            )
            self.addresses += [value] if re.match(r"https?:|//", value) else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def check_page(page: str) -> Outline:
    outline = Outline(page)
    assert outline.addresses == []  # no network
    assert len(set(outline.ids)) == len(outline.ids)
    assert set(outline.used) <= set(outline.ids)
    names = [tag for tag, _ in outline.tags]
    for landmark in ("header", "nav", "main", "footer"):
        assert names.count(landmark) == 1
    assert names.count("h1") == 1
    for tag, values in outline.tags:
        if tag == "svg":
            assert values["role"] == "img"
            assert len(values["aria-label"]) > 30
        if tag == "th":
            assert values["scope"] in ("col", "row")
    assert names.count("table") == names.count("caption")
    return outline


@pytest.fixture
def run(tmp_path):
    """A run directory of 1,000 steps with a few rollout files, written by hand."""
    folder = tmp_path / "run"
    (folder / "rollouts").mkdir(parents=True)
    with (folder / "steps.jsonl").open("w") as file:
        for step in range(1, 1001):
            metrics = {
                "loss": 1 / step,
                "guidance/tokens/sampled_total": 500.0 * step,
                "guidance/success/unguided": step / 1000,
                "guidance/success/guided": 0.5,
                "guidance/length/tokens": 40.0,
                "guidance/length/fraction": 0.5,
                "guidance/guided_share": 0.5,
                "guidance/advantage/std": 0.7,
                "guidance/groups/zero_std": 0.2,
                "guidance/groups/solve_none": 0.1,
                "guidance/groups/solve_all": 0.1,
                **{f"guidance/advantage/{k}_{s}": 0.2 for k in ("guided", "unguided") for s in ("positive", "negative")},
            }
            file.write(json.dumps({"step": step, "metrics": metrics, "controller": {}, "wall_s": step / 2}) + "\n")
    for generation in (0, 400, 999):
        rows = [
            {
                "generation": generation,
                "key": f"k{g}",
                "rollout_index": m,
                "guided": m < 2,
                "fraction": 0.5 if m < 2 else 0.0,
                "guidance_tokens": 2 if m < 2 else 0,
                "success": float(m % 2),
                "reward": float(m % 2),
                "advantage": 0.5 - m % 2,
                "prompt": "What is <b>1</b> & 1?",
                "completion": "a<script>alert(1)</script>b",
                "token_ids": [1, 2, 3, 4],
                "token_origin": [PROMPT, GUIDANCE, GUIDANCE, SAMPLED] if m < 2 else [PROMPT, SAMPLED, SAMPLED, SAMPLED],
            }
            for g in range(3)
            for m in range(4)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "rollouts" / f"generation_{generation:06d}.parquet")
    settings = {
        "model": {"model_name_or_path": "nowhere/at-all"},
        "data": {"task": "chains"},
        "training": {"learning_rate": 1e-4, "seed": 7, "guidance_controller": "profile"},
    }
    (folder / "resolved.json").write_text(json.dumps(settings))
    (folder / "manifest.json").write_text(json.dumps({"g2rpo": "1.2.3", "versions": {"trl": "9.9"}, "python": "3"}))
    return folder


def test_half_a_run_is_refused(run):
    (run / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"manifest.json of the run"):
        write_report(run)


def test_a_long_run_gives_a_small_page_with_everything_on_it(run):
    path = write_report(run)
    page = path.read_text()
    outline = check_page(page)
    assert len(page) < 600_000
    drawn = {"success", "length", "share", "advantage-std", "zero-std", "signs", "loss", "reward-map", "fraction"}
    assert {p.stem for p in (run / "figures").glob("*.svg")} == {p.stem for p in (run / "figures").glob("*.png")} == drawn
    assert sum(tag == "svg" for tag, _ in outline.tags) == len(drawn)
    assert "<title>profile on chains (run)</title>" in page
    assert "500,000 sampled tokens" in page
    assert "learning_rate" in page
    assert "9.9" in page
    assert "Generation batch 400" in page
    assert "guided, 2 tokens (50%)" in page
    assert "<script" not in page
    assert "<b>1</b>" not in page
    assert write_report(run).read_text() == page


def test_guidance_is_marked_where_the_ids_can_be_read(run, tokenizer):
    tokenizer.save_pretrained(run)
    page = write_report(run).read_text()
    given = tokenizer.decode([2, 3])
    assert (
        f"<mark>⟦{given.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;').replace(chr(34), '&quot;')}⟧</mark>"
        in page
    )


PROBE = """<script>
const parse = c => c.match(/[\\d.]+/g).slice(0, 3).map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 });
const light = c => { const [r, g, b] = parse(c); return .2126 * r + .7152 * g + .0722 * b };
const style = getComputedStyle(document.body), [a, b] = [light(style.color), light(style.backgroundColor)].sort();
document.title = JSON.stringify({
  overflow: document.scrollingElement.scrollWidth - innerWidth, dark: matchMedia("(prefers-color-scheme: dark)").matches, width: innerWidth,
  contrast: (b + .05) / (a + .05), paper: light(style.backgroundColor), ready: performance.now(),
  drawn: [...document.querySelectorAll("svg")].every(s => s.getBoundingClientRect().width > 100),
});
</script>"""
"""What a browser makes of the page, written into its title."""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [500, 1400])
def test_in_a_real_browser(run, dark, width, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page = tmp_path / "page.html"
    page.write_text(write_report(run).read_text().replace("</body>", PROBE + "</body>"))
    told = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-sync",
            "--disable-component-update",
            "--disable-quic",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},900",
            *(["--blink-settings=preferredColorScheme=0"] if dark else []),
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    facts = json.loads(re.search(r"<title>(.*?)</title>", told.stdout, re.DOTALL)[1])
    assert facts["dark"] == dark
    assert facts["width"] <= width
    assert facts["overflow"] <= 0  # nothing to scroll sideways but tables in their own boxes
    assert facts["drawn"]
    assert facts["contrast"] > 7  # WCAG AAA for text
    assert (facts["paper"] < 0.2) == dark
    assert facts["ready"] < 10_000
    assert "CONSOLE" not in told.stderr


def test_nothing_to_report_on_is_told(tmp_path, run):
    with pytest.raises(RunError, match=r"steps\.jsonl"):
        write_report(tmp_path / "nothing")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(RunError, match="comparison"):
        write_report(tmp_path / "other.json")
    with pytest.raises(RunError, match="Only comparisons"):
        markdown_of([run])


def test_lines_are_thinned_and_smoothed_without_moving_their_mean():
    points = [(float(i), float(i % 2)) for i in range(10_000)]
    thin = thinned(points)
    assert len(thin) == MOST_POINTS
    assert sum(y for _, y in thin) / len(thin) == pytest.approx(0.5, abs=1e-3)
    assert thinned(points[:5]) == points[:5]
    assert smoothed([(0, 1.0), (1, 3.0), (2, 5.0)], 2) == [(0, 1.0), (1, 2.0), (2, 4.0)]


def test_a_figure_says_in_words_where_its_lines_begin_and_end():
    figure = lines("x", "Success.", [("a", [(0, 0.1), (1, 0.6)]), ("none", [])], x="tokens", y="success", percent=True)
    assert "a from 10 % to 60 %" in figure.description
    assert "currentColor" in figure.svg
    assert lines("x", "Nothing.", [("a", [])], x="tokens", y="success") is None
