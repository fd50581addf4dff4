// The card on Airflow's home: how many members are in which state, and what to look at first.
//
// Airflow imports this file and shows the component that it leaves behind, in the middle of its own page. So it is made
// with Airflow's React and in its colours, and nothing that an API answers may break the page around it.

import { ask, fleetPath, largest, root } from "./airflow.js";

const { Component, createElement: h, useEffect, useState } = globalThis.React;

// Each state has the palette of Airflow that it has on the fleet page.
const PALETTES = { failed: "failed", unreachable: "awaiting_input", drifted: "warning", leaving: "deferred", joining: "running",
  undeclared: "skipped", paused: "none", left: "none", healthy: "success" };
const EVERY = 30_000;
const MAY_NOT = [401, 403];

const colour = (name) => `var(--chakra-colors-${name})`;
const MUTED = { color: colour("fg-muted"), fontSize: "14px" };

/** Return what was answered, as far as it is what the card shows; throws where it is not. */
function read(answer) {
  const counts = Object.entries(answer?.counts ?? {}).filter(([state, count]) => state in PALETTES && Number.isInteger(count) && count >= 0);
  if (!counts.length) throw new Error("Airflow's answer is none that this card understands.");
  const text = (value) => (typeof value === "string" ? value : "");
  const { host, cluster, sentence } = answer.worst ?? {};
  const age = (Date.parse(answer.now) - Date.parse(answer.observed_at)) / 1000;
  return {
    counts,
    age: Number.isFinite(age) ? age : null,
    nothing: text(answer.nothing),
    stale: text(answer.stale),
    worst: text(host) && text(sentence) ? { host, cluster: text(cluster), sentence } : null,
  };
}

/** Return what is known: the last summary that was read, and why there is no newer one. */
function useSummary() {
  const [known, setKnown] = useState({});
  useEffect(() => {
    let timer = 0;
    let reading = false;
    let gone = false;
    const look = async () => {
      window.clearTimeout(timer);
      if (gone || reading || document.hidden) return;
      reading = true;
      try {
        const summary = read(await ask(`${root}fleet/summary`));
        if (!gone) setKnown({ summary });
      } catch (error) {
        if (!gone) setKnown((before) => ({ ...before, error }));
      }
      reading = false;
      if (!gone) timer = window.setTimeout(look, EVERY);
    };
    document.addEventListener("visibilitychange", look);
    look();
    return () => {
      gone = true;
      window.clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, []);
  return known;
}

/** Return a link to the fleet page; Airflow's router follows it without loading Airflow again. */
function toPage(query, given, ...children) {
  const path = fleetPath(query);
  const { Link } = globalThis.ReactRouterDOM ?? {};
  return Link ? h(Link, { ...given, to: `/${path}` }, ...children) : h("a", { ...given, href: `${root}${path}` }, ...children);
}

/** Return the page's icon, drawn as Airflow draws its own. */
function icon() {
  const dots = [["12", "12", "3"], ["4.5", "5.5", "2"], ["19.5", "5.5", "2"], ["12", "21", "2"]];
  const lines = { fill: "none", stroke: "currentColor", strokeWidth: 2, strokeLinecap: "round" };
  return h(
    "svg",
    { viewBox: "0 0 24 24", width: 16, height: 16, "aria-hidden": true, ...lines },
    ...dots.map(([cx, cy, r]) => h("circle", { key: cx + cy, cx, cy, r })),
    h("path", { d: "M6 6.9 9.7 10M18 6.9 14.3 10M12 15v4" }),
  );
}

function heading({ age }) {
  const said = age === null || age === undefined ? "" : age < 5 ? "seen just now" : `seen ${largest(age)} ago`;
  return h(
    "div",
    { style: { display: "flex", alignItems: "center", gap: "4px", margin: "8px 0", color: colour("fg-muted") } },
    icon(),
    h("h2", { style: { fontSize: "12px", lineHeight: "18px", fontWeight: 600 } }, toPage({}, {}, "Fleet")),
    h("span", { style: { marginInlineStart: "8px", fontSize: "12px" } }, said),
  );
}

function bar(counts) {
  const parts = counts.filter(([, count]) => count).map(([state, count]) => h("span", {
    key: state,
    title: `${count} ${state}`,
    style: { flex: `${count} 0 6px`, background: colour(`${PALETTES[state]}-solid`) },
  }));
  const style = { display: "flex", gap: "2px", height: "8px", overflow: "hidden", borderRadius: "4px", margin: "0 0 12px" };
  return parts.length ? h("div", { "aria-hidden": true, className: "fleet-bar", style }, ...parts) : null;
}

function pill([state, count]) {
  const palette = count ? PALETTES[state] : "none";
  const badge = { minWidth: "26px", padding: "1px 9px", borderRadius: "99px", textAlign: "center", fontSize: "14px", lineHeight: "24px",
    background: colour(`${palette}-solid`), color: colour(`${palette}-contrast`), fontWeight: 500 };
  const style = { display: "flex", alignItems: "center", gap: "8px", padding: "8px", border: `1px solid ${colour("border")}`, borderRadius: "8px" };
  return toPage(
    { state },
    { key: state, style, "data-state": state },
    h("span", { style: badge }, String(count)),
    h("span", { style: { fontSize: "14px", fontWeight: 700, color: colour("fg") } }, `${state[0].toUpperCase()}${state.slice(1)}`),
    h("svg", { viewBox: "0 0 24 24", width: 16, height: 16, "aria-hidden": true, fill: "none", stroke: "currentColor", strokeWidth: 2 },
      h("path", { d: "m9 18 6-6-6-6" })),
  );
}

function worst({ host, cluster, sentence }) {
  const asked = cluster ? { host, cluster } : { host };
  const name = cluster ? `${host}/${cluster}` : `Host ${host}`;
  const style = { fontWeight: 600, color: colour("fg"), textDecoration: "underline", textUnderlineOffset: "3px" };
  return h("p", { className: "fleet-worst", style: { ...MUTED, marginTop: "10px", overflowWrap: "anywhere" } }, toPage(asked, { style }, name), `: ${sentence}`);
}

const line = (text) => h("p", { className: "fleet-said", style: { ...MUTED, marginTop: "10px" } }, text);

function Summary() {
  const { summary, error } = useSummary();
  // Who may not see the fleet is not told that there is one.
  if (MAY_NOT.includes(error?.status) || (!summary && !error)) return null;
  // Its place is after Airflow's own statistics, which are third in the column.
  const section = (...children) => h("section", { id: "fleet-card", "aria-label": "Fleet", style: { order: 3 } }, ...children);
  if (!summary) return section(heading({}), line(`The fleet cannot be shown: ${error.message}`));
  const before = error ? line(`What you see is from before: ${error.message}`) : null;
  if (summary.nothing) return section(heading({}), line(summary.nothing), before);
  return section(
    heading(summary),
    bar(summary.counts),
    h("div", { style: { display: "flex", flexWrap: "wrap", gap: "16px" } }, ...summary.counts.map(pill)),
    summary.worst ? worst(summary.worst) : null,
    summary.stale ? line(summary.stale) : null,
    before,
  );
}

/** What goes wrong in the card stays in it. */
class Card extends Component {
  state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  render() {
    return this.state.broken ? null : h(Summary);
  }
}

// Airflow takes only what is a function, which a class is, by the name that the plugin gives.
globalThis["Fleet card"] = Card;
