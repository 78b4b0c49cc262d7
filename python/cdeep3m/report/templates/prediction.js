"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const sliders = ["threshold", "opacity", "plane"].map(at);
  const FOUND = [60, 200, 90], INVENTED = [240, 70, 60], MISSED = [70, 130, 255];
  const loaded = new Map();
  let showing = 0;

  const pixels = async (uri) => {
    if (!uri) return null;
    const picture = new Image();
    picture.src = uri;
    await picture.decode();
    const canvas = document.createElement("canvas");
    canvas.width = picture.naturalWidth;
    canvas.height = picture.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const gray = new Uint8Array(canvas.width * canvas.height);
    for (let i = 0; i < gray.length; i++) gray[i] = rgba[4 * i];
    return { width: canvas.width, height: canvas.height, gray };
  };

  const plane = async (k) => {
    if (!loaded.has(k)) {
      const { image, map, label } = data.planes[k];
      loaded.set(k, Promise.all([pixels(image), pixels(map), pixels(label)]));
    }
    return loaded.get(k);
  };

  const paint = (id, { width, height }, colour) => {
    const canvas = at(id);
    if (!canvas) return;
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    const out = new Uint32Array(picture.data.buffer);
    for (let i = 0; i < out.length; i++) out[i] = colour(i);
    context.putImageData(picture, 0, 0);
  };
  const rgb = (r, g, b) => (255 << 24) | (b << 16) | (g << 8) | r;
  const gray = (v) => rgb(v, v, v);

  // Connected foreground pixels (8 neighbours), by union-find along the rows.
  const countObjects = ({ width, height, gray }, threshold) => {
    const parent = new Int32Array(width * height).fill(-1);
    const root = (i) => { while (parent[i] !== i) { parent[i] = parent[parent[i]]; i = parent[i]; } return i; };
    let count = 0;
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        if (gray[i] < threshold) continue;
        parent[i] = i;
        count++;
        const join = (j) => {
          if (parent[j] < 0) return;
          const a = root(i), b = root(j);
          if (a !== b) { parent[Math.max(a, b)] = Math.min(a, b); count--; }
        };
        if (x) join(i - 1);
        if (y) {
          join(i - width);
          if (x) join(i - width - 1);
          if (x < width - 1) join(i - width + 1);
        }
      }
    }
    return count;
  };

  const above = (counts, threshold) => counts.reduce((sum, n, v) => (v >= threshold ? sum + n : sum), 0);
  const total = (counts) => counts.reduce((sum, n) => sum + n, 0);
  const percent = (part) => (Number.isFinite(part) ? `${(100 * part).toFixed(part < 0.1 ? 2 : 1)} %` : "–");
  const number = (value) => (Number.isFinite(value) ? value.toFixed(3) : "–");
  const say = (id, text) => { const element = at(id); if (element) element.textContent = text; };

  const placeCut = (threshold) => {
    const line = at("histogram-cut");
    if (!line) return;
    const { x0, x1 } = line.ownerSVGElement.dataset;
    const x = Number(x0) + (Number(x1) - Number(x0)) * (threshold / 256);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  };
  const placeDot = (recall, precision) => {
    const dot = at("curve-dot");
    if (!dot) return;
    const visible = Number.isFinite(recall) && Number.isFinite(precision);
    dot.setAttribute("visibility", visible ? "visible" : "hidden");
    if (!visible) return;
    const { x0, x1, y0, y1 } = dot.ownerSVGElement.dataset;
    dot.setAttribute("cx", Number(x0) + (Number(x1) - Number(x0)) * recall);
    dot.setAttribute("cy", Number(y0) + (Number(y1) - Number(y0)) * precision);
  };

  const sayScores = (threshold) => {
    const all = data.counts.background
      ? data.counts.background.map((n, v) => n + data.counts.foreground[v])
      : data.counts.all;
    say("share-all", percent(above(all, threshold) / total(all)));
    placeCut(threshold);
    if (!data.counts.background) return;
    const wrong = above(data.counts.background, threshold), right = above(data.counts.foreground, threshold);
    const there = total(data.counts.foreground);
    const precision = right / (right + wrong), recall = right / there;
    say("precision", number(precision));
    say("recall", number(recall));
    say("f1", number(2 * right / (right + wrong + there)));
    say("iou", number(right / (wrong + there)));
    placeDot(recall, precision);
  };

  const show = async () => {
    const ticket = ++showing;
    const [threshold, opacity, k] = sliders.map((slider) => Number(slider.value));
    say("threshold-value", (threshold / 255).toFixed(2));
    say("opacity-value", `${opacity} %`);
    say("plane-value", `${data.planes[k].z} `);
    sayScores(threshold);
    const [image, map, label] = await plane(k);
    if (ticket !== showing) return;
    const ground = image || map, mix = opacity / 100;
    if (image) paint("image", image, (i) => gray(image.gray[i]));
    paint("map", map, (i) => gray(map.gray[i]));
    let marked = 0;
    paint("overlay", map, (i) => {
      const found = map.gray[i] >= threshold, there = label ? label.gray[i] > 127 : found;
      marked += found;
      const v = ground.gray[i];
      if (!found && !there) return gray(v);
      const colour = found ? (there ? FOUND : INVENTED) : MISSED;
      return rgb(...colour.map((c) => Math.round(v + mix * (c - v))));
    });
    const objects = countObjects(map, threshold);
    say("share-plane", percent(marked / map.gray.length));
    say("objects-plane", String(objects));
    say("density-plane", ((objects / (map.gray.length * data.pixel)) * 1e6).toFixed(1));
    document.documentElement.dataset.shown = `${k} ${threshold} ${opacity}`;
  };

  sliders.forEach((slider) => slider.addEventListener("input", show));
  show();
})();
