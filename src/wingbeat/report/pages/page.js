"use strict";
(() => {
  const payload = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)");
  const hidden = new Map();
  const settings = { displayModeBar: false, responsive: false, displaylogo: false };
  const PRINTED_WIDTH = 660;
  let printing = false;

  // Colour tokens become the colours of the theme that is shown.
  function resolve(value, colours) {
    if (Array.isArray(value)) return value.map((inner) => resolve(inner, colours));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v, colours)]));
    }
    return typeof value === "string" && Object.hasOwn(colours, value) ? colours[value] : value;
  }

  function hasWebGL() {
    try {
      const canvas = document.createElement("canvas");
      return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
    } catch {
      return false;
    }
  }

  function fit(layout, width, three) {
    layout.width = width;
    layout.font.family = getComputedStyle(document.documentElement).getPropertyValue("--sans");
    if (three) {
      layout.height = Math.min(layout.height, Math.round(width * 1.05));
      const eye = layout.scene.camera.eye;
      const farther = width < 560 ? 1.3 : 1;
      layout.scene.camera.eye = { x: eye.x * farther, y: eye.y * farther, z: eye.z * farther };
    }
    if (width >= 560 || three) return;
    layout.font.size = 11;
    layout.margin = { ...layout.margin, l: 4, r: 20 };
    for (const axis of [layout.xaxis, layout.yaxis]) {
      if (axis.title) axis.title.font = { size: 11 };
      if (axis.tickmode !== "array" && !axis.dtick) axis.nticks = 5;
    }
  }

  function draw(figure) {
    const place = document.getElementById(figure.id);
    const width = printing ? PRINTED_WIDTH : place.clientWidth;
    if (!width) return;
    const theme = !printing && dark.matches ? "dark" : "light";
    const { data, layout } = resolve(figure.spec, payload.themes[theme]);
    fit(layout, width, figure.three);
    if (coarse.matches && !figure.three) {
      // A finger that scrolls the page must not zoom the plot.
      layout.dragmode = false;
    }
    const off = hidden.get(figure.id) ?? new Set();
    for (const trace of data) if (off.has(trace.legendgroup)) trace.visible = false;
    Plotly.react(place, data, layout, settings);
  }

  const webgl = hasWebGL();
  const shown = payload.figures.filter((figure) => {
    if (!figure.three || webgl) return true;
    const place = document.getElementById(figure.id);
    place.className = "nothing";
    place.textContent = "This browser cannot draw in three dimensions (no WebGL).";
    return false;
  });
  const drawAll = () => shown.forEach((figure) => (printing && figure.three ? null : draw(figure)));

  for (const button of document.querySelectorAll("button[data-group]")) {
    button.addEventListener("click", () => {
      const { figure: id, group } = button.dataset;
      const off = hidden.get(id) ?? new Set();
      off.has(group) ? off.delete(group) : off.add(group);
      hidden.set(id, off);
      button.setAttribute("aria-pressed", String(!off.has(group)));
      shown.filter((figure) => figure.id === id).forEach(draw);
    });
  }
  for (const button of document.querySelectorAll("button[data-save]")) {
    button.addEventListener("click", () => {
      const figure = payload.figures.find((found) => found.id === button.dataset.save);
      Plotly.downloadImage(document.getElementById(figure.id), {
        format: figure.three ? "png" : "svg",
        filename: `wingbeat-${figure.id}`,
      });
    });
  }

  let lastWidth = 0;
  new ResizeObserver((entries) => {
    const width = Math.round(entries[0].contentRect.width);
    if (printing || width === lastWidth) return;
    lastWidth = width;
    requestAnimationFrame(drawAll);
  }).observe(document.querySelector("main"));
  dark.addEventListener("change", drawAll);
  window.addEventListener("beforeprint", () => { printing = true; drawAll(); });
  window.addEventListener("afterprint", () => { printing = false; drawAll(); });
})();
