"use strict";
(() => {
  const payload = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)");
  const hidden = new Map();
  const settings = { displayModeBar: false, responsive: false, displaylogo: false };
  const PRINTED_WIDTH = 660;
  const PRINTED_HEIGHT = 240;  // two figures with their words fit a page of paper
  let printing = false;

  // plotly.js lies in the page as gzip in base64; the policy of the page names its hash.
  async function load() {
    const packed = atob(document.getElementById("plotly").textContent);
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  // Colour tokens become the colours of the theme that is shown.
  function resolve(value, colours) {
    if (Array.isArray(value)) return value.map((inner) => resolve(inner, colours));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v, colours)]));
    }
    return typeof value === "string" && Object.hasOwn(colours, value) ? colours[value] : value;
  }

  function fit(layout, width) {
    layout.width = width;
    layout.font.family = getComputedStyle(document.documentElement).getPropertyValue("--sans");
    if (printing) {
      layout.height = Math.min(layout.height, PRINTED_HEIGHT);
      for (const axis of [layout.xaxis, layout.yaxis]) if (axis.title) axis.title.font = { size: 10 };
      const title = layout.yaxis.title;
      // 5.5 pixels a letter; 60 of the height are taken by ticks and title of the other axis.
      if (title?.text && title.text.length * 5.5 > layout.height - 60) {
        title.text = title.text.replace(" (", "<br>(").replace(", ", ",<br>");
      }
    }
    if (width >= 560) return;
    layout.font.size = 11;
    layout.margin = { ...layout.margin, l: 4, r: 20 };
    for (const axis of [layout.xaxis, layout.yaxis]) {
      if (axis.title) axis.title.font = { size: 11 };
      if (axis.tickmode !== "array" && !axis.dtick) axis.nticks = 5;
    }
  }

  function specOf(figure, width) {
    const theme = !printing && dark.matches ? "dark" : "light";
    const spec = resolve(figure.spec, payload.themes[theme]);
    fit(spec.layout, width);
    return spec;
  }

  function draw(figure) {
    const place = document.getElementById(figure.id);
    const small = place.closest(".panel") ? PRINTED_WIDTH / 3 - 12 : PRINTED_WIDTH;
    const width = printing ? small : place.clientWidth;
    if (!width) return;
    const { data, layout } = specOf(figure, width);
    // A finger that scrolls the page must not zoom the plot.
    if (coarse.matches) layout.dragmode = false;
    const off = hidden.get(place.dataset.of) ?? new Set();
    for (const trace of data) if (off.has(trace.legendgroup)) trace.visible = false;
    Plotly.react(place, data, layout, settings);
  }

  const drawAll = () => payload.figures.forEach(draw);
  const panelsOf = (id) =>
    payload.figures.filter((figure) => document.getElementById(figure.id).dataset.of === id);

  function listenToKeys() {
    for (const button of document.querySelectorAll("button[data-group]")) {
      button.addEventListener("click", () => {
        const { figure: id, group } = button.dataset;
        const off = hidden.get(id) ?? new Set();
        off.has(group) ? off.delete(group) : off.add(group);
        hidden.set(id, off);
        button.setAttribute("aria-pressed", String(!off.has(group)));
        panelsOf(id).forEach(draw);
      });
    }
  }

  // The numbers of a drawing, one row a point; a band stands beside its line as low and high.
  function csv(figure) {
    const plain = (text) => {
      const area = document.createElement("textarea");
      area.innerHTML = text;
      return area.value;
    };
    const cell = (value) => {
      if (value === null || value === undefined) return "";
      if (typeof value === "number") return String(value);
      const text = plain(String(value));
      const safe = /^[=+\-@\t]/.test(text) ? `'${text}` : text;
      return /[",\n']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const { data, layout } = figure.spec;
    const title = (axis) => layout[axis]?.title?.text || axis[0];
    const rows = [["series", title("xaxis"), title("yaxis"), "low", "high"]];
    const bands = new Map();
    for (const trace of data.filter((one) => one.fill === "toself")) {
      const half = trace.x.length / 2;
      for (let i = 0; i < half; i++) {
        const key = `${trace.name} ${trace.x[i]}`;
        if (!bands.has(key)) bands.set(key, [trace.y[2 * half - 1 - i], trace.y[i]]);
      }
    }
    for (const trace of data.filter((one) => one.fill !== "toself")) {
      if (trace.type === "heatmap") {
        rows[0] = ["row", "column", plain(trace.colorbar.title.text)];
        trace.z.forEach((line, i) => line.forEach((value, j) =>
          rows.push([trace.customdata[i][j], trace.x[j], value])));
        continue;
      }
      trace.y.forEach((y, i) => {
        const x = trace.x ? trace.x[i] : i;
        const bar = trace.error_x ?? trace.error_y;
        const at = trace.error_x ? x : y;
        const ends = bar ? [at - bar.arrayminus[i], at + bar.array[i]] : ["", ""];
        rows.push([trace.name, x, y, ...(bands.get(`${trace.name} ${x}`) ?? ends)]);
      });
    }
    return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }

  function keep(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // As it is on paper: light, on white, with its key, whatever the screen shows.
  async function picture(figure, format) {
    const width = 800;
    const spec = resolve(figure.spec, payload.themes.light);
    fit(spec.layout, width);
    const groups = spec.data.filter((one) => one.mode && one.fill !== "toself");
    const named = new Set();
    for (const trace of spec.data) {
      const first = groups.includes(trace) && !named.has(trace.legendgroup ?? trace.name);
      trace.showlegend = first;
      if (first) named.add(trace.legendgroup ?? trace.name);
    }
    Object.assign(spec.layout, {
      paper_bgcolor: "#fff", showlegend: named.size > 1, legend: { orientation: "h", y: -0.2 },
      height: Math.max(spec.layout.height, 420),
    });
    const url = await Plotly.toImage(spec, {
      format, width, height: spec.layout.height, scale: format === "png" ? 2 : 1,
    });
    const [head, body] = url.split(/,(.*)/s);
    const text = head.includes("base64") ? atob(body) : decodeURIComponent(body);
    const bytes = head.includes("base64")
      ? Uint8Array.from(text, (letter) => letter.charCodeAt(0)) : text;
    return new Blob([bytes], { type: format === "png" ? "image/png" : "image/svg+xml" });
  }

  function listenToSaves() {
    const copies = navigator.clipboard && window.ClipboardItem;
    for (const button of document.querySelectorAll("[data-save] button")) {
      const id = button.parentElement.dataset.save;
      const { form } = button.dataset;
      const figure = payload.figures.find((found) => found.id === id);
      if (form === "copy" && !copies) {
        button.hidden = true;
        continue;
      }
      button.addEventListener("click", async () => {
        if (form === "csv") {
          keep(new Blob([csv(figure)], { type: "text/csv" }), `wingbeat-${id}.csv`);
        } else if (form === "copy") {
          const said = button.textContent;
          try {
            await navigator.clipboard.write(
              [new ClipboardItem({ "image/png": picture(figure, "png") })]);
            button.textContent = "copied";
          } catch {
            button.textContent = "not allowed here";
          }
          setTimeout(() => { button.textContent = said; }, 2000);
        } else {
          keep(await picture(figure, form), `wingbeat-${id}.${form}`);
        }
      });
    }
  }

  // A link to what lies in a folded part opens it.
  function unfold() {
    const there = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!there) return;
    for (let part = there.closest("details"); part; part = part.parentElement.closest("details")) {
      part.open = true;
    }
    there.scrollIntoView();
  }

  function start() {
    let lastWidth = 0;
    new ResizeObserver((entries) => {
      const width = Math.round(entries[0].contentRect.width);
      if (printing || width === lastWidth) return;
      lastWidth = width;
      requestAnimationFrame(drawAll);
    }).observe(document.querySelector("main"));
    dark.addEventListener("change", drawAll);
    for (const part of document.querySelectorAll("details")) {
      part.addEventListener("toggle", () => {
        for (const figure of payload.figures) {
          if (part.open && part.contains(document.getElementById(figure.id))) draw(figure);
        }
      });
    }
    window.addEventListener("beforeprint", () => { printing = true; drawAll(); });
    window.addEventListener("afterprint", () => { printing = false; drawAll(); });
    listenToKeys();
    listenToSaves();
  }

  window.addEventListener("hashchange", unfold);
  unfold();
  load().then(start, () => {
    for (const figure of payload.figures) {
      const place = document.getElementById(figure.id);
      place.className = "nothing";
      place.textContent = "This browser is too old to unpack the figures: any of 2023 or later can.";
    }
  });
})();
