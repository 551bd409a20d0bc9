"use strict";
// Runs before plotly, which reads the labels of its three-dimensional figures back from a canvas
// many times: Chromium warns of that on the console unless it is told when the canvas is made.
(() => {
  const original = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, options) {
    const asked = kind === "2d" ? { willReadFrequently: true, ...options } : options;
    return original.call(this, kind, asked);
  };
})();
