"""What a loaded page is asked by the browser tests, as JavaScript that returns plain values."""

from __future__ import annotations

UNFOLD = """() => document.querySelectorAll('details').forEach((part) => { part.open = true; })"""
"""Opens every part that the page folds away."""

FIRST_SCREEN = """() => {
  const shown = (e) => {
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.top < window.innerHeight && box.top >= 0;
  };
  const whole = (e) => shown(e) && e.getBoundingClientRect().bottom <= window.innerHeight;
  const all = (query) => [...document.querySelectorAll(query)];
  const figures = all('.plot').filter(shown).map((place) => ({
    id: place.id, marks: place.querySelectorAll('path.js-line, path.point').length }));
  return {
    texts: all('header p, h1, main p').filter(whole).map((e) => e.innerText),
    rows: all('.answers tbody th').filter(whole).map((e) => e.innerText.split('\\n')[0]),
    figures,
  };
}"""
"""What is seen without scrolling: texts and rows that are there whole, and figures."""

READY = """() => {
  const plots = [...document.querySelectorAll('.plot')].filter((p) => p.checkVisibility());
  return plots.length > 0 && plots.every((p) => p.querySelector('.main-svg'));
}"""
"""True once plotly has drawn into every placeholder."""

FIGURES = """() => [...document.querySelectorAll('.plot')].map((place) => {
  const box = place.querySelector('.main-svg').getBoundingClientRect();
  const marks = place.querySelectorAll(
    '.scatterlayer path.js-line, .scatterlayer path.point, .boxlayer path.box, ' +
    '.heatmaplayer image, .gl-container canvas');
  return { id: place.id, width: box.width, height: box.height, marks: marks.length };
})"""
"""For each figure: its size, and how many lines, points, boxes, maps and canvases it holds."""

POINTS = """(id) => {
  const place = document.getElementById(id);
  place.scrollIntoView({ block: 'center', behavior: 'instant' });
  const middle = (e) => {
    const box = e.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const map = place.querySelector('.heatmaplayer image');
  if (map) return [middle(map)];
  const marks = [...place.querySelectorAll('path.point')].filter(
    (e) => e.getBoundingClientRect().width > 2);
  if (marks.length) return [marks[0], marks[Math.floor(marks.length / 2)]].map(middle);
  const { xaxis, yaxis } = place._fullLayout;
  const corner = place.getBoundingClientRect();
  const trace = place._fullData.find((t) => t.hoverinfo !== 'skip');
  const at = trace.x.findIndex((_, i) => i > 0 && trace.y[i] !== null);
  return [[corner.x + xaxis._offset + xaxis.d2p(trace.x[at]),
           corner.y + yaxis._offset + yaxis.d2p(trace.y[at])]];
}"""
"""Brings a figure into view and returns places ``[x, y]`` of things that were measured."""

HOVER_TEXT = """(id) => [...document.getElementById(id).querySelectorAll('.hoverlayer .hovertext')]
  .filter((e) => e.getBoundingClientRect().width > 0).map((e) => e.textContent).join(' ')"""
"""Text of a figure's hover label; "" when there is none."""

TOO_WIDE = """() => {
  const room = document.documentElement.clientWidth;
  const inside = (e) => e.closest('.scroll, pre, thead');
  const wide = [...document.body.querySelectorAll('*')]
    .filter((e) => !inside(e) && e.getBoundingClientRect().right > room + 1)
    .map((e) => `${e.tagName}.${e.className.baseVal ?? e.className}`);
  const page = document.documentElement.scrollWidth;
  return page > room ? [`page ${page} in ${room}`, ...wide] : wide;
}"""
"""What reaches beyond the right edge of the page, tables that scroll by themselves apart."""

CUT_TEXTS = """() => {
  const found = [];
  for (const place of document.querySelectorAll('.plot')) {
    const room = place.getBoundingClientRect();
    for (const text of place.querySelectorAll('svg text')) {
      const box = text.getBoundingClientRect();
      if (!box.width || !text.textContent.trim()) continue;
      const out = Math.max(room.left - box.left, box.right - room.right,
                           room.top - box.top, box.bottom - room.bottom);
      if (out > 1) found.push(`${place.id}: "${text.textContent}" by ${out.toFixed(1)} px`);
    }
  }
  for (const e of document.querySelectorAll('h1,h2,h3,h4,p,dt,dd,th,td,button,figcaption,code')) {
    if (e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1 && !e.closest('.scroll, thead'))
      found.push(`${e.tagName}: "${e.textContent.slice(0, 40)}"`);
  }
  return found;
}"""
"""Texts that reach out of their drawing or out of their own box."""

OVERLAPS = """() => {
  const found = [];
  const seen = (e) => {
    const box = e.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && e.textContent.trim() ? box : null;
  };
  const compare = (elements, where) => {
    const boxes = elements.map((e) => [e, seen(e)]).filter(([, box]) => box);
    for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
      const [[a, p], [b, q]] = [boxes[i], boxes[j]];
      if (a.contains(b) || b.contains(a)) continue;
      const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (across > 1.5 && down > 1.5) found.push(
        `${where}: "${a.textContent.slice(0, 40)}" and "${b.textContent.slice(0, 40)}"`);
    }
  };
  for (const place of document.querySelectorAll('.plot'))
    compare([...place.querySelectorAll('svg text')]
      .filter((e) => !e.closest('.hoverlayer')), place.id);
  compare([...document.querySelectorAll(
    'h1,h2,h3,h4,p,dt,dd,figcaption,.plot,.key > *,nav a,pre,tbody th,tbody td')], 'page');
  return found;
}"""
"""Pairs of texts that lie on one another: within each drawing, and on the page.

A label that pointing has raised lies over the drawing on purpose; a tap leaves it there.
"""

KEYS = """() => [...document.querySelectorAll('figure')].flatMap((figure) => {
  const looks = [...figure.querySelectorAll('.key > *')].map((entry) => {
    const [line, mark] = entry.querySelectorAll('path');
    return [entry.textContent.trim(), line.getAttribute('stroke-dasharray'),
            mark ? mark.getAttribute('d') : ''];
  });
  return looks.length ? [{ id: figure.querySelector('.plot').id, looks }] : [];
})"""
"""For each figure with a key: text, dash pattern and marker of each entry."""

COLOURS = """() => {
  const text = document.querySelector('.plot svg text');
  const page = getComputedStyle(document.body);
  return { drawn: getComputedStyle(text).fill, ink: page.color, paper: page.backgroundColor };
}"""
"""Colours of a drawn text, of the page's text and of its ground."""
