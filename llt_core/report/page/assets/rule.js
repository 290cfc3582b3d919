// The rule of the five phases, exactly as llt_core.analysis.phases has it.
// A comparison with NaN is false here as there, so missing values take the same way.

/** A rule with the relative threshold replaced by the number that it means for these cells. */
function resolvedRule(rule, facts) {
  if (rule.cka_quantile === null) return rule;
  const known = [];
  for (let row = 0; row < facts.cka.length; row++) {
    const flat = facts.train_loss[row] < rule.train_loss && facts.log_trace[row] < rule.log_trace;
    const mc = facts.connectivity[row];
    const joined = mc >= rule.poorly_connected && mc <= rule.unconverged;
    if (flat && joined && Number.isFinite(facts.cka[row])) known.push(facts.cka[row]);
  }
  const cka = known.length ? quantile(known, rule.cka_quantile) : rule.cka;
  return { ...rule, cka, cka_quantile: null };
}

/** numpy.quantile with its linear method, to the last digit. */
function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  const place = share * (sorted.length - 1);
  const before = Math.floor(place);
  const low = sorted[before];
  const high = sorted[Math.min(before + 1, sorted.length - 1)];
  const part = place - before;
  return part >= 0.5 ? high - (high - low) * (1 - part) : low + (high - low) * part;
}

/** The place in PHASES of each cell, −1 where missing values leave it open. */
function phaseCodes(rule, facts) {
  const codes = new Int8Array(facts.train_loss.length).fill(-1);
  for (let row = 0; row < codes.length; row++) {
    const loss = facts.train_loss[row];
    const trace = facts.log_trace[row];
    const mc = facts.connectivity[row];
    const cka = facts.cka[row];
    const sharp = loss >= rule.train_loss || trace >= rule.log_trace;
    const flat = loss < rule.train_loss && trace < rule.log_trace;
    const joined = mc >= rule.poorly_connected && mc <= rule.unconverged;
    // So far above zero that the cell is II whether it is sharp or flat.
    if (mc > rule.unconverged && mc >= rule.sharp_connectivity) codes[row] = 1;
    if (sharp && mc < rule.sharp_connectivity) codes[row] = 0;
    if (sharp && mc >= rule.sharp_connectivity) codes[row] = 1;
    if (flat && mc > rule.unconverged) codes[row] = 1;
    if (flat && mc < rule.poorly_connected) codes[row] = 2;
    if (flat && joined && cka < rule.cka) codes[row] = 3;
    if (flat && joined && cka >= rule.cka) codes[row] = 4;
  }
  return codes;
}

/** In words, why a cell has its phase, or why it has none. */
function phaseReason(rule, facts, row, code, uses, reasonOf) {
  const loss = facts.train_loss[row];
  const trace = facts.log_trace[row];
  const mc = facts.connectivity[row];
  const sharp = loss >= rule.train_loss || trace >= rule.log_trace;
  if (code < 0) {
    let wanted;
    if (sharp) wanted = ["connectivity"];
    else if (Number.isNaN(loss) || Number.isNaN(trace)) wanted = ["train_loss", "log_trace"].filter((use) => Number.isNaN(facts[use][row]));
    else wanted = [Number.isNaN(mc) ? "connectivity" : "cka"];
    return wanted.map((use) => missingFact(row, use, uses, reasonOf)).join("; ");
  }
  const connectivity = `${uses.connectivity} ${general(mc, 4)}`;
  if (!sharp && (Number.isNaN(loss) || Number.isNaN(trace))) {
    const beyond = general(Math.max(rule.unconverged, rule.sharp_connectivity));
    return `sharp or flat, not poorly connected (${connectivity}, beyond ${beyond})`;
  }
  if (sharp) {
    const why = loss >= rule.train_loss
      ? `train_loss ${general(loss, 4)} ≥ ${general(rule.train_loss)}`
      : `log hessian_trace ${general(trace, 4)} ≥ ${general(rule.log_trace)}`;
    const edge = general(rule.sharp_connectivity);
    return code === 0
      ? `sharp (${why}), poorly connected (${connectivity} < ${edge})`
      : `sharp (${why}), connected (${connectivity} ≥ ${edge})`;
  }
  if (code === 2) return `flat, poorly connected (${connectivity} < ${general(rule.poorly_connected)})`;
  if (code === 1) return `flat, ends not converged (${connectivity} > ${general(rule.unconverged)})`;
  const relation = code === 3 ? "<" : "≥";
  return `flat, well connected (${connectivity}), cka ${general(facts.cka[row], 4)} ${relation} ${general(rule.cka, 4)}`;
}

function missingFact(row, use, uses, reasonOf) {
  const name = uses[use];
  if (name === undefined) {
    const lacking = { log_trace: "hessian_trace", connectivity: DATA.connectivity.join(" or ") };
    return `no ${lacking[use] ?? use} in the table`;
  }
  return `no ${name}: ${reasonOf(name, row) || "not finite"}`;
}
