/* Sliders below the figures of some pages: the curves of a theorem for other settings, computed
   in the browser. Every page is whole without them. A page says which curves, and where to begin:
   <div class="sliders" data-curves="gain" data-start='{"share": 0.1, ...}'>. */
(() => {
  "use strict";

  const rounds = (count) => Array.from({ length: count }, (_, k) => k + 1);
  const sum = (values) => values.reduce((a, b) => a + b, 0);

  // --- The theorems: settings in, curves out; each equals a function of stlcore.theory --------

  /* Theorem N-02.gain in units of the first risk. */
  function gain({ share, size, gain: fixed, rounds: T }) {
    const follow = (rule) => {
      const risks = [1 / size];
      for (let t = 2; t <= T; t++) {
        const R = risks.at(-1);
        const noise = (1 - (1 - share) ** 2 * R) / size;
        const g = rule(t, R, noise);
        risks.push((1 - g * share) ** 2 * R + g ** 2 * noise);
      }
      return risks.map((risk) => risk * size);
    };
    const best = (t, R, noise) => {
      const whole = share ** 2 * R + noise;
      return whole > 0 ? (share * R) / whole : 0;
    };
    return {
      x: rounds(T),
      curves: {
        "retrain, gain 1": follow(() => 1),
        "fixed gain": follow(() => fixed),
        "accumulate, gain 1/t": follow((t) => 1 / t),
        "best gain": follow(best),
      },
    };
  }

  /* Theorem N-04 in units of V: how far truth and model are from the first truth. */
  function coevolution({ share, kappa, archive, size, rounds: T }) {
    const kept = 1 - archive;
    const [a, b] = [1 - kappa, kappa];
    const [c, d] = [kept * share * (1 - kappa), kept * (share * kappa + 1 - share)];
    let [xx, xy, yy] = [0, 0, 1 / size];
    const found = { truth: [xx], model: [yy] };
    for (let t = 2; t <= T; t++) {
      const read = c * c * xx + 2 * c * d * xy + d * d * yy;
      [xx, xy] = [
        a * a * xx + 2 * a * b * xy + b * b * yy,
        a * c * xx + (a * d + b * c) * xy + b * d * yy,
      ];
      yy = read + (1 - read) / size;
      found.truth.push(xx);
      found.model.push(yy);
    }
    return { x: rounds(T), curves: found };
  }

  /* Theorem N-06: the balance of a soft selection, against the reward. */
  function curation({ share, strength, truth }) {
    const K = truth.length;
    const reward = truth.map((_, k) => (K > 1 ? k / (K - 1) : 0));
    const best = Math.max(...reward.filter((_, k) => truth[k] > 0));
    const weight = reward.map((r, k) => (truth[k] > 0 ? Math.exp(strength * (r - best)) : 0));
    const balance = (u) =>
      truth.map((p, k) => (p > 0 ? (share * p) / (1 - weight[k] + u * weight[k]) : 0));
    let low = share * sum(truth.filter((_, k) => weight[k] === 1));
    let high = share;
    if (share === 0) {
      const liked = truth.map((p, k) => (weight[k] === 1 ? p : 0));
      return { x: reward, curves: { truth, balance: liked.map((p) => p / sum(liked)) } };
    }
    for (let k = 0; k < 200 && high - low > Number.EPSILON * high; k++) {
      const middle = (low + high) / 2;
      if (sum(balance(middle)) > 1) low = middle;
      else high = middle;
    }
    const found = balance((low + high) / 2);
    const whole = sum(found);
    return { x: reward, curves: { truth, balance: found.map((p) => p / whole) } };
  }

  /* Corollary C-03 in units of V: the risk at a fixed share, and its limit. */
  function fixedShare({ share, size, rounds: T }) {
    const q = (1 - share) ** 2 * (1 - 1 / size);
    const risks = [1 / size];
    for (let t = 2; t <= T; t++) risks.push(q * risks.at(-1) + 1 / size);
    const limit = 1 / (size - (1 - share) ** 2 * (size - 1));
    return { x: rounds(T), curves: { risk: risks, limit: risks.map(() => limit) } };
  }

  /* E[1/N | N >= 1] of a binomial number N: weights relative to the largest, outwards from it. */
  function meanInverse(n, q) {
    if (q >= 1) return 1 / n;
    const mode = Math.min(Math.max(Math.floor((n + 1) * q), 1), n);
    const odds = q / (1 - q);
    let [weights, total] = [0, 0];
    for (let k = mode, w = 1; k >= 1 && w > 1e-25; k--) {
      weights += w;
      total += w / k;
      w *= k / ((n - k + 1) * odds);
    }
    for (let k = mode, w = 1; k < n && w > 1e-25; k++) {
      w *= ((n - k) * odds) / (k + 1);
      weights += w;
      total += w / (k + 1);
    }
    return total / weights;
  }

  /* Theorem C-05 in units of V: the risk behind a filter, without one, and by its mean number. */
  function filtered({ share, size, type1, type2, rounds: T }) {
    const kept = share * (1 - type1) + (1 - share) * type2;
    const follow = (part, inverse) => {
      const risks = [1 / size];
      for (let t = 2; t <= T; t++) {
        risks.push((1 - part) ** 2 * (1 - inverse) * risks.at(-1) + inverse);
      }
      return risks;
    };
    const curves = { "no filter": follow(share, 1 / size) };
    if (kept > 0) {
      const part = (share * (1 - type1)) / kept;
      curves["with the filter"] = follow(part, meanInverse(size, kept));
      curves["mean-field form"] = follow(part, 1 / (size * kept));
    }
    return { x: rounds(T), curves };
  }

  /* Theorem B-06: the bound against the amount of synthetic data, over its value without any. */
  function phase({ generation: i, rate, floor }) {
    const x = Array.from({ length: 281 }, (_, k) => 10 ** (-2 + k / 40));
    const at = (amount, grows) => {
      const size = 1 + amount;
      const error = size ** (1 - rate) + floor * size;
      const carried = Math.log1p(-1 / size);
      if (grows) return -error * Math.expm1((i + 1) * carried);
      return (1 + floor) * Math.exp(i * carried) - error * Math.expm1(i * carried);
    };
    const curve = (grows) => x.map((amount) => at(amount, grows) / (1 + floor));
    return {
      x,
      curves: { "generation 1 grows too": curve(true), "generation 1 has n points": curve(false) },
    };
  }

  // --- What each of them shows, and what can be moved -----------------------------------------

  const steps = (from, to, count) =>
    Array.from({ length: count + 1 }, (_, k) => Number((from + ((to - from) * k) / count).toFixed(10)));
  const SHARES = [0, 0.001, 0.002, 0.005, 0.01, 0.02, ...steps(0.05, 1, 19)];
  const SIZES = [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000, 2000, 5000, 10000];
  const share = { label: "Share of fresh data α", values: SHARES };
  const size = { label: "Items in a round n", values: SIZES };
  const last = { label: "Rounds T", values: [2, 5, 10, 20, 30, 50, 60, 100, 200, 500, 1000] };
  const KINDS = {
    gain: {
      compute: gain, x: "round t", y: "risk over first risk", logX: true, logY: true,
      controls: {
        share, size, gain: { label: "Fixed gain g", values: steps(0.02, 1, 49) }, rounds: last,
      },
    },
    coevolution: {
      compute: coevolution, x: "round t", y: "squared distance over V",
      controls: {
        share, kappa: { label: "The truth moves by κ", values: SHARES },
        archive: { label: "Share of an archive", values: SHARES }, size, rounds: last,
      },
    },
    curation: {
      compute: curation, x: "reward of the class", y: "probability", points: true,
      end: "at reward 1:",
      controls: { share, strength: { label: "Strength of selection β", values: steps(0, 8, 80) } },
    },
    fixedShare: {
      compute: fixedShare, x: "round t", y: "risk over V", logY: true,
      controls: { share, size, rounds: last },
    },
    filtered: {
      compute: filtered, x: "round t", y: "risk over V",
      controls: {
        share, size,
        type1: { label: "Real items lost η", values: steps(0, 1, 100) },
        type2: { label: "Synthetic items kept ν", values: steps(0, 1, 100) }, rounds: last,
      },
    },
    phase: {
      compute: phase, x: "synthetic points per real one λ", y: "bound over bound at λ = 0", logX: true,
      logY: true,
      controls: {
        generation: { label: "Mixings i", values: [1, 2, 3, 4, 5, 7, 10, 15, 20, 50, 100] },
        rate: { label: "Rate a", values: steps(0.05, 0.95, 18) },
        floor: { label: "Error that no sample removes f", values: [0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2] },
      },
    },
  };

  // --- Drawing ----------------------------------------------------------------------------------

  const STYLES = ["", "9 4", "2 4", "9 4 2 4"];
  const LEFT = 58, RIGHT = 12, TOP = 10, BOTTOM = 40, HEIGHT = 280;

  function shape(name, attributes, words = "") {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = words;
    return element;
  }

  const short = (value) =>
    value === 0 ? "0" : String(Number(value.toPrecision(Math.abs(value) >= 1e4 ? 2 : 3)));

  /* Round numbers between two ends: powers of ten, with 2 and 5 times them, or equal steps. */
  function ticks(low, high, log, most) {
    if (log && high / low >= 4) {
      const powers = [];
      for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high); k++) powers.push(k);
      const every = Math.ceil(powers.length / most);
      const within = 3 * powers.length <= most + 3 ? [1, 2, 5] : [1];
      return powers.filter((_, k) => k % every === 0).flatMap((k) => within.map((w) => w * 10 ** k))
        .filter((value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9));
    }
    const rough = (high - low) / most;
    const ten = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((k) => k * ten).find((k) => k >= rough * (1 - 1e-9));
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-9); k++) found.push(k * step);
    return found;
  }

  function axis(low, high, log, from, to) {
    const scale = log ? Math.log : (value) => value;
    const [a, b] = [scale(low), scale(high)];
    return (value) => from + ((to - from) * (scale(value) - a)) / (b - a || 1);
  }

  function draw(svg, kind, { x, curves }) {
    const width = Math.max(svg.clientWidth, 240);
    const values = Object.values(curves).flat();
    let [low, high] = kind.logY ? [Math.min(...values), Math.max(...values)] : [0, Math.max(...values)];
    if (kind.logY) [low, high] = [low / 1.15, high * 1.15];
    else high = high > 0 ? high * 1.05 : 1;
    const [x0, x1] = [x[0], x.at(-1)];
    const [px, py] = [
      axis(x0, x1, kind.logX, LEFT, width - RIGHT),
      axis(low, high, kind.logY, HEIGHT - BOTTOM, TOP),
    ];
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const parts = [];
    for (const value of ticks(low, high, kind.logY, 6)) {
      parts.push(shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: py(value), y2: py(value) }));
      parts.push(shape("text", { x: LEFT - 6, y: py(value) + 4, "text-anchor": "end" }, short(value)));
    }
    for (const value of ticks(x0, x1, kind.logX, width < 420 ? 4 : 7)) {
      parts.push(shape("line", { class: "grid", x1: px(value), x2: px(value), y1: TOP, y2: HEIGHT - BOTTOM }));
      parts.push(shape("text", { x: px(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, short(value)));
    }
    parts.push(shape("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, kind.x));
    const up = { transform: `rotate(-90 14 ${(HEIGHT - BOTTOM) / 2})`, "text-anchor": "middle" };
    parts.push(shape("text", { x: 14, y: (HEIGHT - BOTTOM) / 2, ...up }, kind.y));
    Object.entries(curves).forEach(([name, y], k) => {
      const points = y.map((value, j) => `${px(x[j]).toFixed(2)},${py(value).toFixed(2)}`);
      const look = { class: `curve c${k}`, "data-name": name, "stroke-dasharray": STYLES[k] };
      parts.push(shape("polyline", { ...look, points: points.join(" ") }));
      if (!kind.points) return;
      for (const point of points) {
        const [cx, cy] = point.split(",");
        parts.push(shape("circle", { class: `point c${k}`, cx, cy, r: 4 }));
      }
    });
    svg.replaceChildren(...parts);
  }

  /* What stands below the curves: their names, with their last values. */
  function legend(curves, end = "ends at") {
    return Object.entries(curves).map(([name, y], k) => {
      const item = document.createElement("span");
      const line = shape("svg", { viewBox: "0 0 30 10", width: 30, height: 10, "aria-hidden": "true" });
      const style = { class: `curve c${k}`, "stroke-dasharray": STYLES[k] };
      line.append(shape("polyline", { ...style, points: "0,5 30,5" }));
      item.append(line, ` ${name}: ${end} ${short(y.at(-1))}`);
      return item;
    });
  }

  // --- Controls ---------------------------------------------------------------------------------

  function control(place, name, { label, values }, start, moved) {
    const all = [...new Set([...values, start])].sort((a, b) => a - b);
    const [box, words, slider, shown] =
      ["div", "label", "input", "output"].map((tag) => document.createElement(tag));
    slider.id = `${place}-${name}`;
    words.htmlFor = slider.id;
    words.textContent = label;
    shown.htmlFor = slider.id;
    Object.assign(slider, { type: "range", name, min: 0, max: all.length - 1, step: 1 });
    slider.value = all.indexOf(start);
    const tell = () => {
      shown.textContent = all[slider.value];
      slider.setAttribute("aria-valuetext", shown.textContent);
    };
    slider.addEventListener("input", () => { tell(); moved(); });
    tell();
    box.append(words, shown, slider);
    return { box, value: () => all[slider.value] };
  }

  function begin(root, number) {
    const kind = KINDS[root.dataset.curves];
    const start = JSON.parse(root.dataset.start);
    const form = document.createElement("form");
    const svg = shape("svg", { role: "img", height: HEIGHT, "aria-label": `${kind.y} against ${kind.x}` });
    const words = Object.assign(document.createElement("p"), { className: "legend" });
    words.setAttribute("aria-live", "polite");
    const controls = {};
    const settings = () => {
      const moved = Object.entries(controls).map(([name, one]) => [name, one.value()]);
      return { ...start, ...Object.fromEntries(moved) };
    };
    const show = () => {
      root.result = kind.compute(settings());
      draw(svg, kind, root.result);
      words.replaceChildren(...legend(root.result.curves, kind.end));
    };
    for (const [name, given] of Object.entries(kind.controls)) {
      controls[name] = control(`sliders-${number}`, name, given, start[name], show);
      form.append(controls[name].box);
    }
    form.addEventListener("submit", (event) => event.preventDefault());
    root.settings = settings;
    root.replaceChildren(form, svg, words);
    show();
    addEventListener("resize", show);
  }

  window.stlCurves = Object.fromEntries(
    Object.entries(KINDS).map(([name, kind]) => [name, kind.compute]));
  addEventListener("DOMContentLoaded", () => document.querySelectorAll("div.sliders").forEach(begin));
})();
