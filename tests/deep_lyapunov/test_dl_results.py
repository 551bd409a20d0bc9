"""Reports, pictures, JSON: each test names what deep-lyapunov 0.1.2 does, on which it fails."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
from dl_jobs import analyzer, loader, train

from wingbeat import deep_lyapunov as dl
from wingbeat.deep_lyapunov import visualization as draw
from wingbeat.deep_lyapunov.config import VisualizationConfig

NAMES = ("trajectories", "convergence", "lyapunov")


@pytest.fixture(autouse=True)
def no_window():
    mpl.use("Agg")
    yield
    from matplotlib import pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def results():
    return analyzer(n_trajectories=4, track_gradients=True).analyze(train, loader(), 3)


def made(**fields):
    """A result from its required fields, as a script may build it."""
    start = {
        "convergence_ratio": 0.75,
        "lyapunov": -0.03,
        "behavior": "convergent",
        "spread_evolution": np.array([1.0, 0.9, 0.8, 0.75]),
        "pca_trajectories": np.random.default_rng(0).standard_normal((4, 3, 5)),
        "pca_explained_variance": np.array([0.5, 0.3, 0.15, 0.04, 0.01]),
        "effective_dimensionality": 3.2,
        "trajectory_metrics": [dl.TrajectoryMetrics(i, final_loss=0.1) for i in range(3)],
        "n_trajectories": 3,
        "n_checkpoints": 4,
        "n_parameters": 1000,
    }
    return dl.AnalysisResults(**{**start, **fields})


class Page(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.sources = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        if self.cdata_elem is None:  # neither a style nor a script is read
            self.words.append(data)


def test_html_with_pictures_inside(results, tmp_path):
    results.save_report(tmp_path / "report")
    found = {p.name for p in (tmp_path / "report").iterdir()}
    assert found == {"report.html", "metrics.json"}
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert page.tags.count("img") == 3
    assert "script" not in page.tags
    assert all(s.startswith("data:image/png;base64,") for s in page.sources)
    assert "Stability Analysis Report" in page.words


def test_pictures_in_files_of_their_own(results, tmp_path):
    results.save_report(tmp_path, embed_images=False)
    for name in NAMES:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.sources == [f"{name}.png" for name in NAMES]


@pytest.mark.parametrize("embed", [True, False])
def test_markdown(results, tmp_path, embed):
    results.save_report(tmp_path, embed, "markdown")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Stability Analysis Report")
    assert text.count("![") == 3
    assert not (tmp_path / "report.html").exists()
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) == 2 + 8 + 2 + 4
    assert (tmp_path / "lyapunov.png").exists() is not embed


@pytest.mark.slow
def test_the_look_can_be_set(results, tmp_path):
    """The original's VisualizationConfig is used by nothing."""
    small = VisualizationConfig(figure_dpi=40)
    large = VisualizationConfig(figure_dpi=80, show_confidence_bands=False, colormap="plasma")
    sizes = []
    for config in (small, large):
        results.save_report(tmp_path, embed_images=False, config=config)
        sizes.append(_png_size(tmp_path / "convergence.png"))
    assert sizes == [(288, 180), (576, 360)]
    results.save_report(tmp_path, False, config=VisualizationConfig(figure_format="svg"))
    assert b"<svg" in (tmp_path / "lyapunov.svg").read_bytes()
    results.save_report(tmp_path, False, config=VisualizationConfig(figure_format="pdf"))
    assert "lyapunov.pdf" in (tmp_path / "report.html").read_text(encoding="utf-8")
    bands = results.plot_convergence().axes[0].collections
    bare = results.plot_convergence(show_confidence_bands=False).axes[0].collections
    assert (len(bands), len(bare)) == (1, 0)


def _png_size(path):
    head = path.read_bytes()[16:24]
    return int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")


def test_a_report_with_one_component(tmp_path):
    """The original: IndexError."""
    one = analyzer(n_pca_components=1).analyze(train, loader(), 2)
    one.save_report(tmp_path)
    assert (tmp_path / "report.html").exists()


def test_a_report_after_from_dict(results, tmp_path):
    """The original: IndexError, its dictionary holds no trajectories in components."""
    again = dl.AnalysisResults.from_dict(json.loads(json.dumps(results.to_dict())))
    again.save_report(tmp_path)
    assert again.to_dict() == results.to_dict()
    np.testing.assert_array_equal(again.pca_trajectories, results.pca_trajectories)
    np.testing.assert_array_equal(again.gradient_norms, results.gradient_norms)


def test_a_dictionary_of_the_original(tmp_path):
    data = made().to_dict()
    old = {k: data[k] for k in list(data)[:11] if k != "pca_trajectories"}
    again = dl.AnalysisResults.from_dict(old)
    assert again.convergence_ratio == 0.75
    assert again.pca_trajectories.shape == (4, 3, 0)
    again.save_report(tmp_path)


def test_json_is_valid(tmp_path):
    """The original writes Infinity and NaN, which are not JSON."""
    broken = made(
        convergence_ratio=math.inf, lyapunov=math.nan, spread_evolution=np.array([0, np.nan])
    )
    broken.to_json(tmp_path / "out.json")
    text = (tmp_path / "out.json").read_text(encoding="ascii")
    data = json.loads(text, parse_constant=pytest.fail)
    assert data["convergence_ratio"] is None
    assert data["spread_evolution"] == [0.0, None]
    assert math.isnan(dl.AnalysisResults.from_dict(data).lyapunov)


@pytest.mark.slow
def test_an_ascii_locale(tmp_path):
    """The original: UnicodeEncodeError, for the letter λ."""
    code = (
        "import numpy as np; from wingbeat import deep_lyapunov as dl;"
        "r = dl.AnalysisResults(.5, -.1, 'convergent', np.ones(3), np.ones((3, 2, 2)),"
        " np.ones(2) / 2, 1.0); [r.save_report('out', format=f) for f in ('html', 'markdown')]"
    )
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=plain)
    assert "λ" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


ATTACK = "<script>alert(1)</script>"


def test_nothing_in_a_result_becomes_html(tmp_path):
    """The original passes a script in n_trajectories on to the page."""
    data = made().to_dict()
    with pytest.raises(ValueError, match="n_trajectories"):
        dl.AnalysisResults.from_dict({**data, "n_trajectories": ATTACK})
    texts = {"behavior": ATTACK, "reason": ATTACK, "notes": [f"{ATTACK} [a](javascript:x)"]}
    evil = dl.AnalysisResults.from_dict({**data, **texts})
    for form, name in (("html", "report.html"), ("markdown", "report.md")):
        evil.save_report(tmp_path, format=form)
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "script" not in Page(text).tags
        assert form == "html" or "](javascript" not in text.replace("\\]", "")


def test_the_report_does_not_contradict_itself(tmp_path):
    """The original may print "Convergent" beside "Sensitive to initialization"."""
    for ratio, word in ((0.5, "convergent"), (2.0, "divergent"), (math.nan, "undetermined")):
        made(behavior=word, convergence_ratio=ratio, lyapunov=math.log(ratio)).save_report(tmp_path)
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        words = " ".join(Page(text).words).lower()
        others = {"convergent", "divergent", "undetermined"} - {word}
        assert word in words
        assert not any(other in words for other in others)


@pytest.mark.parametrize("name", ["a.json", "a.html", "a.md", "a.txt", "a.png", "a.PNG"])
def test_a_path_like_a_file_is_refused(results, tmp_path, name):
    with pytest.raises(ValueError, match="looks like a file path"):
        results.save_report(str(tmp_path / name))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"lyapunov": "fast"}, "lyapunov"),
        ({"spread_evolution": [[1.0]]}, "spread_evolution"),
        ({"trajectory_metrics": [{"trajectory_id": "x"}]}, "trajectory_id"),
    ],
)
def test_a_broken_dictionary_is_refused(change, match):
    with pytest.raises(ValueError, match=match):
        dl.AnalysisResults.from_dict({**made().to_dict(), **change})
    with pytest.raises(ValueError, match="lyapunov"):
        dl.AnalysisResults.from_dict({"convergence_ratio": 1.0})


def test_an_unknown_format_is_refused(results, tmp_path):
    with pytest.raises(ValueError, match="pdf"):
        results.save_report(tmp_path, format="pdf")


def test_plots_draw_where_they_are_told(results):
    from matplotlib import pyplot as plt

    for plot in (results.plot_trajectories, results.plot_convergence, results.plot_lyapunov):
        figure, ax = plt.subplots()
        assert plot(ax=ax, alpha=0.5) is figure
        assert ax.lines
        assert plot() is not figure


def test_the_spread_that_is_drawn_is_the_spread(results):
    ax = results.plot_convergence(color="red").axes[0]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), results.spread_evolution)
    assert ax.lines[0].get_color() == "red"
    assert ax.get_yscale() == "log"


def test_lines_differ_without_colour(results):
    ax = results.plot_trajectories().axes[0]
    ways = [line for line in ax.lines if len(line.get_xdata()) > 1]
    assert len({str(line._unscaled_dash_pattern) for line in ways}) == 4
    markers = {line.get_marker() for line in ax.lines}
    assert len(markers - {"None", ""}) == 4


def test_the_colour_map_reaches_lines_ends_and_key(results):
    ax = results.plot_trajectories(colormap="plasma").axes[0]
    shades = [tuple(c) for c in mpl.colormaps["plasma"](np.linspace(0.0, 0.85, 4))]
    drawn = [tuple(line.get_color()) for line in ax.lines]
    assert drawn == [shade for shade in shades for _ in range(3)]
    assert [tuple(h.get_color()) for h in ax.get_legend().legend_handles] == shades
    bare = results.plot_trajectories(show_endpoints=False).axes[0].lines
    assert [line.get_visible() for line in bare] == [True, False, False] * 4


@pytest.mark.slow
def test_six_pictures(tmp_path):
    one = made()
    args = (one.pca_trajectories, one.pca_explained_variance)
    for figure in (
        draw.plot_trajectories_2d(
            *args, components=(1, 4), show_endpoints=False, colormap="plasma"
        ),
        draw.plot_trajectories_3d(*args, components=(0, 2, 4)),
        draw.plot_convergence_basin(*args),
        draw.plot_spread_evolution(one.spread_evolution, behavior="convergent"),
        draw.plot_lyapunov_evolution(one.spread_evolution, -0.1),
        draw.create_analysis_dashboard(
            *args, one.spread_evolution, -0.1, 0.75, "convergent", tmp_path / "sheet.png"
        ),
    ):
        assert figure.axes
        figure.canvas.draw()
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


@pytest.mark.parametrize("spread", [[1.0], [0.0, 0.0], [np.nan, np.nan]])
def test_pictures_of_nothing_say_so(spread):
    for figure in (
        draw.plot_spread_evolution(np.array(spread[:1]) * 0),
        draw.plot_lyapunov_evolution(np.array(spread), math.nan),
        draw.plot_trajectories_2d(np.empty((2, 3, 0)), np.empty(0)),
        draw.plot_trajectories_3d(np.ones((2, 3, 2)), np.empty(0)),
        draw.plot_convergence_basin(np.ones((2, 3, 1)), np.ones(1)),
    ):
        figure.canvas.draw()
        assert any("no" in t.get_text() or "fewer" in t.get_text() for t in figure.axes[0].texts)


def test_a_component_that_is_not_there():
    with pytest.raises(ValueError, match="components"):
        made().plot_trajectories(components=(0, 9))
    with pytest.raises(ValueError, match="colormap"):
        made().plot_trajectories(colormap="nothing")
    with pytest.raises(ValueError, match="3d"):
        draw.plot_trajectories_3d(np.ones((2, 3, 3)), np.ones(3), ax=mpl.figure.Figure().subplots())
