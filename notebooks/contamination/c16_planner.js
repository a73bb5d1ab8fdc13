// The numbers behind the planner of C-16: stlcore.theory.planning and the parts of
// stlcore.theory.contamination that it uses, once more, for the browser.
//
// A plan is an object with the fields
//   first                         real items of round 1
//   fresh, freshPower             round t >= 2 gets ceil(fresh * t^freshPower) real items,
//   synthetic, syntheticPower     and so many synthetic ones (0 for none)
//   budget                        real items in all, or null if they never end
//   type1, type2                  the filter's error rates (0 and 1: every item is kept)
//   accumulate                    whether a round trains on all items so far
//   V                             risk of a single draw
"use strict";

const stlPlanner = (() => {
  const HORIZON = 1_000_000;

  // --- Volumes, shares and effective sizes ------------------------------------------------

  const items = (scale, power, t) =>
    scale === 0 ? 0 : Math.max(Math.ceil(scale * t ** power * (1 - 1e-12)), 1);

  // E[1/N | N >= 1] for N ~ Bin(n, q).
  function meanInverse(n, q) {
    if (q >= 1) return 1 / n;
    let total = 0;
    if (n * q >= 200) {
      let term = 1 / ((n + 1) * q);
      for (let j = 1; j <= 15; j++) {
        total += term;
        term *= j / ((n + 1 + j) * q);
      }
      return total;
    }
    // The binomial weights relative to the largest one, outwards from it.
    const mode = Math.min(Math.max(Math.floor((n + 1) * q), 1), n);
    const odds = q / (1 - q);
    let weights = 0;
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

  function effectiveSize(drawn, kept, accumulate) {
    if (!(drawn * kept > 0)) return 0;
    if (accumulate) return Math.max((drawn * kept) / -Math.expm1(drawn * Math.log1p(-kept)), 1);
    return Math.max(1 / meanInverse(drawn, kept), 1);
  }

  // Share and effective size of a batch after the filter, written into `batch`.
  function filter(plan, real, synthetic, batch) {
    const keptReal = (1 - plan.type1) * real;
    const kept = keptReal + plan.type2 * synthetic;
    const some = kept > 0;
    const drawn = real + synthetic;
    batch.share = some ? keptReal / kept : 0;
    batch.size = some ? effectiveSize(drawn, Math.min(kept / drawn, 1), plan.accumulate) : 0;
    return batch;
  }

  // Goes through the rounds; `round` holds the present one and is used again for the next.
  function walk(plan, rounds, visit) {
    const round = { t: 0, real: 0, synthetic: 0, share: 1, size: 0, pooled: 0, risk: 0, left: 0 };
    round.left = plan.budget ?? Infinity;
    for (let t = 1; t <= rounds; t++) {
      round.t = t;
      round.real = Math.min(t === 1 ? plan.first : items(plan.fresh, plan.freshPower, t), round.left);
      round.synthetic = t === 1 ? 0 : items(plan.synthetic, plan.syntheticPower, t);
      round.left -= round.real;
      if (t === 1) round.size = round.real;
      else filter(plan, round.real, round.synthetic, round);
      const { share, size } = round;
      round.pooled = plan.accumulate ? round.pooled + size : size;
      if (size > 0) {
        // In units of V; round 1 has nothing to carry over.
        const weight = size / round.pooled;
        const shrink = (1 - share * weight) ** 2 - (weight ** 2 / size) * (1 - share) ** 2;
        round.risk = shrink * round.risk + weight ** 2 / size;
      }
      visit(round);
    }
    return round;
  }

  // --- What the next round needs ------------------------------------------------------------

  // Fewest fresh items with which the next round lowers the risk V / worth.
  function freshNeeded(plan, worth, synthetic, pooled) {
    if (plan.type1 === 1) return Infinity;
    const lowers = (fresh) => {
      const { share, size } = filter(plan, fresh, synthetic, {});
      if (size === 0) return false;
      const total = size + (plan.accumulate ? pooled : 0);
      const gain = share * (2 - (share * size) / total) * total;
      return gain > (worth - (1 - share) ** 2) * (1 + 1e-12);
    };
    let high = 1;
    while (!lowers(high)) high *= 2;
    let low = Math.floor(high / 2);
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (lowers(middle)) high = middle;
      else low = middle;
    }
    return high;
  }

  // --- Where the loop ends up -----------------------------------------------------------------

  // The round in which the last real item is used, or null.
  function spent(plan) {
    if (plan.budget === null || plan.fresh === 0) return null;
    let used = plan.first;
    let t = 1;
    while (used < plan.budget) used += items(plan.fresh, plan.freshPower, ++t);
    return t;
  }

  // The last round that has anything to train on, or null.
  function ends(plan) {
    if (plan.synthetic > 0 && plan.type2 > 0) return null;
    return plan.fresh === 0 || plan.type1 === 1 ? 1 : spent(plan);
  }

  // Leading orders c t^p, as in stlcore.schedules.Growth.
  const plus = (a, b) => {
    if (a.scale === 0 || b.scale === 0) return a.scale === 0 ? b : a;
    if (a.power === b.power) return { scale: a.scale + b.scale, power: a.power };
    return a.power > b.power ? a : b;
  };
  const limitOf = ({ scale, power }) =>
    scale === 0 || power < 0 ? 0 : power === 0 ? scale : Infinity;
  const diverges = ({ scale, power }) => scale > 0 && power >= -1;
  // Bound on the sum over t > HORIZON of c t^p with p < -1.
  const tail = ({ scale, power }) =>
    scale === 0 ? 0 : (scale * HORIZON ** (power + 1)) / -(power + 1);

  function verdict(plan, unlimited = false) {
    if (unlimited) plan = { ...plan, budget: null };
    const first = plan.V / plan.first;
    const settled = (limit, reason) => ({
      kind:
        limit <= first * (1 + 1e-12) && limit < plan.V * (1 - 1e-12) ? "improvement" : "collapse",
      limit,
      error: 0,
      first,
      reason,
    });
    const consistent = (reason) => ({ kind: "consistency", limit: 0, error: 0, first, reason });
    const last = ends(plan);
    if (last !== null) {
      const limit = plan.V * walk(plan, last, () => {}).risk;
      return settled(limit, `after round ${last} nothing is left to train on, so the model stays as it is`);
    }
    const over = spent(plan) !== null;
    const real = {
      scale: over ? 0 : (1 - plan.type1) * plan.fresh,
      power: over || plan.fresh === 0 ? 0 : plan.freshPower,
    };
    const synthetic = {
      scale: plan.type2 * plan.synthetic,
      power: plan.synthetic === 0 ? 0 : plan.syntheticPower,
    };
    const size = plus(real, synthetic);
    const share =
      real.scale === 0
        ? { scale: 0, power: 0 }
        : { scale: real.scale / size.scale, power: real.power - size.power };
    if (plan.accumulate) {
      if (diverges({ scale: share.scale, power: share.power - 1 }))
        return consistent("fresh items keep their share of the pool, and the noise of the pool vanishes");
      return finiteMemory(plan, share, size, first);
    }
    const inverse = { scale: 1 / size.scale, power: -size.power };
    if (!diverges(share) && !diverges(inverse)) return finiteMemory(plan, share, size, first);
    if (size.power === 0 && limitOf(share) > 0) {
      // Synthetic items that are all dropped, and ever more of them: a Poisson number is kept.
      const flood = plan.type2 === 0 && plan.synthetic > 0 && plan.syntheticPower > 0;
      const n = filter(plan, plan.fresh, flood ? 1e15 : plan.synthetic, {}).size;
      const alpha = limitOf(share);
      return settled(
        plan.V / (n - (1 - alpha) ** 2 * (n - 1)),
        "share and size stay as they are, and so does the noise of each round",
      );
    }
    const fresh = limitOf({ scale: share.scale * size.scale, power: share.power + size.power });
    if (fresh === Infinity)
      return consistent("the number of fresh items a round grows without bound, and the past is forgotten");
    if (fresh > 0)
      return settled(
        plan.V / (2 * fresh + 1),
        `a round keeps about ${Number(fresh.toPrecision(6))} fresh items for ever, ` +
          "so the risk settles at V / (2 × that + 1)",
      );
    return settled(plan.V, "no fresh items come in, while the noise of the rounds keeps adding up");
  }

  // The first round is never quite forgotten: bracket the limit.
  function finiteMemory(plan, share, size, first) {
    let total = 0;
    let fed = false;
    const end = walk(plan, HORIZON, ({ t, share: part, size: n }) => {
      total += n;
      fed ||= t > 1 && part > 0;
    });
    const weight = end.size / end.pooled;
    const lastRisk = plan.V * end.risk;
    if (plan.first === 1 && !fed)
      return { kind: "collapse", limit: plan.V, error: 0, first, reason: "there is nothing left that could be lost" };
    let noiseTail, pull, fresh;
    if (plan.accumulate) {
      noiseTail = 1 / total;
      const steepness = 1 + size.power;
      pull = { scale: steepness * (1 + 1 / end.size + 10 / HORIZON), power: -1 };
      fresh = { scale: (share.scale * size.scale) / steepness, power: share.power + size.power + 1 };
    } else {
      noiseTail = tail({ scale: 1 / size.scale, power: -size.power }) * (1 + 3 / end.size);
      pull = { scale: 1, power: 0 };
      fresh = { scale: share.scale * size.scale, power: share.power + size.power };
    }
    const real = plan.fresh ? items(plan.fresh, plan.freshPower, HORIZON) : Infinity;
    const slack = 1 + 1 / Math.max(real - 1, 1); // rounding up adds at most one real item
    const forgotten =
      2 * tail({ scale: share.scale * slack * pull.scale, power: share.power + pull.power }) +
      noiseTail;
    const now = (end.share * (2 - end.share * weight) * end.size) / weight;
    const levels = [plan.V / ((1 - end.share) ** 2 + now), plan.V / (1 + 2 * limitOf(fresh))];
    const low = Math.max(lastRisk * Math.max(1 - forgotten, 0), Math.min(lastRisk, ...levels));
    const noisy = lastRisk + (plan.V - lastRisk) * Math.min(noiseTail, 1);
    const high = Math.min(noisy * (1 + HORIZON * Number.EPSILON), Math.max(lastRisk, ...levels));
    const bracket = { limit: (low + high) / 2, error: (high - low) / 2, first };
    if (low < first && first <= high)
      return { ...bracket, kind: "undecided", reason: "the limit is too close to the first risk to tell which is larger" };
    if (high < first)
      return { ...bracket, kind: "improvement", reason: "the first round is never forgotten, but what comes after it heals more than it harms" };
    return { ...bracket, kind: "collapse", reason: "the rounds add more noise than they heal, though it adds up to a finite sum" };
  }

  // --- Everything about a plan ----------------------------------------------------------------

  function trajectory(plan, rounds) {
    const columns = { round: [], real: [], synthetic: [], risk: [], worth: [], needed: [] };
    let next = null;
    let left = null;
    walk(plan, rounds, (round) => {
      columns.round.push(round.t);
      columns.real.push(round.real);
      columns.synthetic.push(round.synthetic);
      columns.risk.push(plan.V * round.risk);
      columns.worth.push(1 / round.risk);
      // What this round needed was settled by the round before it.
      columns.needed.push(next === null ? NaN : next);
      const synthetic = items(plan.synthetic, plan.syntheticPower, round.t + 1);
      next = freshNeeded(plan, 1 / round.risk, synthetic, round.pooled);
      left = round.left;
    });
    return {
      ...columns,
      next: {
        round: rounds + 1,
        synthetic: items(plan.synthetic, plan.syntheticPower, rounds + 1),
        planned: Math.min(items(plan.fresh, plan.freshPower, rounds + 1), left),
        needed: next,
      },
      left,
      spent: spent(plan),
      ends: ends(plan),
    };
  }

  function verdicts(plan) {
    const found = verdict(plan);
    return { verdict: found, unlimited: spent(plan) === null ? found : verdict(plan, true) };
  }

  return { trajectory, verdict, verdicts, meanInverse };
})();
