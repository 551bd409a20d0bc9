from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_cases import FakeResult, full, perturbation, scalar, table

from wingbeat.errors import StoreError
from wingbeat.report import notebook_html, render_page, write_page
from wingbeat.report.pages import plotting_script
from wingbeat.report.pages.document import script_json
from wingbeat.report.pages.page_text import flat

NASTY = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='x",
    "<!--",
    "--><svg/onload=x>",
    "\u2028\u2029",
    "{{ 7 * 7 }}{% raw %}",
    "]]>",
    "&lt;b&gt; &amp;",
    "é 名前 Ω \U0001f98b",
    r"C:\runs\my run 'a' $x$",
    "%{x} <b>bold</b>",
]


class Reader(HTMLParser):
    """Collects the elements with their attribute names, scripts, and text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.shape: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str, str]] = []
        self.scripts: list[tuple[str, str]] = []
        self.styles: list[str] = []
        self.text = ""
        self.inside = ""
        self.kind = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, tuple(name for name, _ in attrs)))
        self.values += [(tag, name, value or "") for name, value in attrs]
        if tag in ("script", "style"):
            self.inside, self.kind = tag, dict(attrs).get("type") or ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts.append((self.kind, data))
        elif self.inside == "style":
            self.styles.append(data)
        else:
            self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@pytest.fixture
def small_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave plotly.js out where only our own part of the page matters."""
    monkeypatch.setattr(plotting_script, "packed_script", lambda: "H4sI")


def with_strings(text: str) -> FakeResult:
    """A result that holds a text wherever a text can come from outside."""
    name = f"n{text}@0"
    base = full(names=(name,), replicas=2, steps=(0, 100, 200))
    frame = base.table.copy()
    frame["layer"] = [f"{layer}{text}" if layer else "" for layer in frame["layer"]]
    own = frame[frame["metric"] == "accuracy"].assign(metric=f"own{text}")
    asked = perturbation(name, replicas=2) | {"description": f"d{text}"}
    return base.but(
        table=pd.concat([frame, own], ignore_index=True),
        warnings=(f"w{text}",),
        condition={"task": {f"k{text}": f"v{text}", "list": [f"l{text}"]}},
        environment={f"e{text}": f"f{text}", "wingbeat": f"0{text}"},
        perturbations=(asked,),
        summary=base.summary | {"early_late_ratio": scalar(None, reason=f"r{text}")},
    )


@cache
def harmless() -> Reader:
    return read(render_page(with_strings("x")))


def check_nothing_injected(text: str) -> None:
    found, plain = read(render_page(with_strings(text))), harmless()
    assert found.shape == plain.shape
    kinds = ["application/json", "application/octet-stream", ""]
    assert [kind for kind, _ in found.scripts] == kinds
    assert found.scripts[1:] == plain.scripts[1:]
    json.loads(found.scripts[0][1])
    for prefix in ("w", "v", "k", "e", "f", "d", "n"):
        assert f"{prefix}{text}" in found.text
    card, plain_card = (
        read(notebook_html(with_strings(text))),
        read(notebook_html(with_strings("x"))),
    )
    assert card.shape == plain_card.shape
    assert f"n{text}@0" in card.text


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.usefixtures("small_plotly")
def test_nasty_strings_stay_text(text: str) -> None:
    check_nothing_injected(text)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(min_size=1, max_size=30), st.sampled_from(NASTY))
@pytest.mark.usefixtures("small_plotly")
def test_any_string_stays_text(text: str, nasty: str) -> None:
    check_nothing_injected(text + nasty)


@given(st.recursive(st.text() | st.integers() | st.none(), lambda s: st.lists(s, max_size=3)))
def test_json_in_a_script_cannot_end_it(value: Any) -> None:
    text = str(script_json(value))
    assert not re.search("[<>&\u2028\u2029]", text)
    assert text.isascii()
    assert json.loads(text) == value


def test_json_refuses_what_browsers_cannot_read() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        script_json([float("nan")])


def test_the_page_asks_the_network_for_nothing() -> None:
    html = render_page(full())
    found = read(html)
    assert html.count(plotting_script.packed_script()) == 1
    links = [
        v for _, name, v in found.values if name in ("src", "href", "srcset", "action", "data")
    ]
    assert links
    # the empty icon keeps browsers from asking for one
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not {tag for tag, _ in found.shape} & {
        "iframe",
        "img",
        "object",
        "embed",
        "base",
    }
    css = "".join(found.styles)
    assert "url(" not in css
    assert "@import" not in css
    own = [text for _, text in found.scripts if text != plotting_script.packed_script()]
    assert len(own) == 2
    assert not any("http" in text or "//" in text.replace("// ", "") for text in own)
    assert "http" not in found.text


def test_the_policy_allows_these_scripts_and_no_request() -> None:
    found = read(render_page(full()))
    policy = next(v for tag, name, v in found.values if tag == "meta" and name == "content")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    for kind, text in found.scripts:
        assert (f"'sha256-{digest(text)}'" in policy) == (kind == "")
    packed = next(text for kind, text in found.scripts if kind == "application/octet-stream")
    unpacked = gzip.decompress(base64.b64decode(packed)).decode()
    assert f"'sha256-{digest(unpacked)}'" in policy
    assert policy.count("sha256-") == 2


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_plotting_script_is_the_published_one_with_its_licence() -> None:
    text = plotting_script.script()
    assert hashlib.sha256(text.encode()).hexdigest() == plotting_script.SHA256
    assert text.startswith("/**\n* plotly.js (cartesian - minified) v4.1.1\n")
    assert "Licensed under the MIT license" in text[:200]
    licence = Path(plotting_script.__file__).parent / "plotly_js" / "LICENSE"
    assert licence.read_text().startswith("MIT License\n\nCopyright (c) 2016-2024 Plotly")


def test_links_and_key_buttons_lead_somewhere() -> None:
    found = read(render_page(full()))
    idents = [v for _, name, v in found.values if name == "id"]
    assert len(idents) == len(set(idents))
    for tag, name, value in found.values:
        if (tag, name) == ("a", "href"):
            assert value.removeprefix("#") in idents
        if name in ("data-figure", "data-save", "aria-labelledby"):
            assert value in idents


@pytest.mark.usefixtures("small_plotly")
def test_every_figure_of_a_full_result_is_on_the_page() -> None:
    found = read(render_page(full()))
    payload = json.loads(found.scripts[0][1])
    idents = [f["id"] for f in payload["figures"]]
    assert idents == [
        "fig-first", "fig-apart-1", "fig-when-1", "fig-where-1", "fig-where-2",
        "fig-function-1", "fig-function-2", "fig-function-3", "fig-function-4",
        "fig-layers-1", "fig-layers-2", "fig-projection-1", "fig-projection-2",
    ]  # fmt: skip
    tokens = set(re.findall(r'"(@[\w-]+)"', found.scripts[0][1]))
    assert tokens <= set(payload["themes"]["light"])
    assert payload["themes"]["light"].keys() == payload["themes"]["dark"].keys()


@pytest.mark.usefixtures("small_plotly")
def test_verdict_interval_floor_and_realised_magnitude_are_told() -> None:
    text = read(render_page(full())).text
    for part in (
        "Divergent: training drove the nudged copies apart.",
        "95 % interval 48.2 to 77.9",
        "exactly 0",
        "0.1 to 0.104",
        "99.86 % to 99.9 %",
        "torch",
        "my_project.nets:build",
        "table.parquet",
        "@software{wingbeat-",
        "√( Σ_p Var_i w_ip(t) )",
    ):
        assert part in text


@pytest.mark.usefixtures("small_plotly")
def test_a_failed_twin_is_told_before_any_number() -> None:
    html = render_page(full().but(noise_floor=3.2e-5))
    text = read(html[html.index("<main") :]).text
    alarm = text.index("The unperturbed twin did not stay identical")
    assert alarm < text.index("Divergent:")
    assert not re.search(r"\d", text[:alarm])
    assert 'role="alert"' not in render_page(full())


@pytest.mark.usefixtures("small_plotly")
def test_weights_only_one_replica_and_nothing_at_all() -> None:
    result = full(names=("g@0",), replicas=1)
    weights = result.table[result.table["metric"].isin(["l2", "spread"])]
    found = read(render_page(result.but(table=weights)))
    figures = [f["id"] for f in json.loads(found.scripts[0][1])["figures"]]
    assert figures == ["fig-first", "fig-apart-1", "fig-layers-1"]
    empty = FakeResult(table([]), behavior="undetermined")
    bare = read(render_page(empty))
    assert json.loads(bare.scripts[0][1])["figures"] == []
    assert "Undetermined" in bare.text
    assert "Undetermined" in read(notebook_html(empty)).text


@pytest.mark.usefixtures("small_plotly")
def test_exact_zeros_are_said_in_words() -> None:
    result = full(names=("g@0",), replicas=2)
    frame = result.table.copy()
    frame.loc[frame["metric"] == "spread", "value"] = 0.0
    ratio = scalar(None, reason="below_noise_floor")
    summary = result.summary | {
        "g@0/convergence_ratio": ratio,
        "g@0/behavior": scalar("undetermined"),
    }
    text = read(render_page(result.but(table=frame, summary=summary))).text
    assert "Nothing to draw" in text
    assert "exactly 0 at every recorded step" in text
    assert "Undetermined: the convergence ratio is not defined" in text


@pytest.mark.usefixtures("small_plotly")
def test_the_page_does_not_grow_with_the_run() -> None:
    steps = range(0, 20_000, 10)
    rows = [["train_loss", s, "", "", f"g@0#{i}", "", 1.0, ""] for i in range(10) for s in steps]
    big = FakeResult(table(rows), perturbations=(perturbation("g@0", replicas=10),))
    assert len(render_page(big)) < 150_000


def test_write_page_makes_one_file_and_replaces_it(tmp_path: Path, small_plotly: None) -> None:
    target = tmp_path / "mein Bericht <1> 'é'.html"
    assert write_page(full(replicas=2), target) == target
    first = target.read_bytes()
    assert write_page(full(replicas=2), str(target)) == target
    assert target.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    write_page(full(replicas=2).but(warnings=("bad \udcff name",)), target)
    assert "bad ? name" in target.read_text(encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be written"):
        write_page(full(replicas=2), tmp_path / "missing" / "report.html")


def test_the_notebook_card_is_small_and_without_scripts() -> None:
    html = notebook_html(full())
    found = read(html)
    assert len(html) < 5000
    assert found.scripts == []
    assert "61.6 [48.2 to 77.9]" in found.text
    assert "noise floor: exactly 0" in found.text
    broken = read(notebook_html(full().but(noise_floor=1e-4))).text
    assert broken.startswith("The unperturbed twin did not stay identical")


def test_nested_conditions_are_flattened_and_long_texts_cut() -> None:
    value = {"a": {"b": [{"c": 1}, {"c": None}], "d": True}, "e": [], "f": {}, "g": "x" * 500}
    found = dict(flat(value))
    assert found["a.b[0].c"] == "1"
    assert found["a.b[1].c"] == "none"
    assert found["a.d"] == "yes"
    assert found["e"] == "none"
    assert found["f"] == "none"
    assert found["g"].endswith("(100 more characters)")
