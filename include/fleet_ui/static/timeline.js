// The phases of a run as lines on one axis of time.

import { length, link, make, runPage } from "./airflow.js";

const LEFT_OUT = ["skipped", "removed"];
// Airflow gives these the time at which it decided that they would not run.
const NEVER = [...LEFT_OUT, "upstream_failed"];

/** Return when each task of a run has been at work, and what has not begun; `now` is in milliseconds. */
export function timeline(run, phases, now) {
  const begun = phases.filter((each) => each.started && !NEVER.includes(each.state));
  if (!begun.length) return make("p", { class: "muted" }, "Nothing has begun yet.");
  const from = Math.min(...begun.map((each) => Date.parse(each.started)));
  const to = Math.max(...begun.map((each) => (each.ended ? Date.parse(each.ended) : now)), from + 1);
  const lines = begun.map((each) => {
    const start = Date.parse(each.started);
    const end = each.ended ? Date.parse(each.ended) : now;
    const bar = make("span", { class: `span ${each.state}` });
    bar.style.marginInlineStart = `${(100 * (start - from)) / (to - from)}%`;
    bar.style.width = `${(100 * (end - start)) / (to - from)}%`;
    const tries = each.tries > 1 ? `, ${each.tries} tries` : "";
    return make("li", {},
      link(runPage(run.dag_id, run.run_id, each.task_id), {}, each.task_id),
      make("span", { class: "track", "aria-hidden": "true" }, bar),
      make("span", { class: "muted" }, `${each.state}${tries}, ${length((end - start) / 1000)}`));
  });
  const left = phases.filter((each) => !begun.includes(each) && !LEFT_OUT.includes(each.state)).map((each) => each.task_id);
  return make("div", {}, make("ol", { class: "timeline" }, ...lines), left.length ? make("p", { class: "muted" }, `Not begun: ${left.join(", ")}`) : "");
}
