// What the pages have to do with the Airflow around them: its theme, its links, its REST API.

// Airflow shows a page in a frame of its own origin, which may not open or leave anything by itself.
const around = (() => {
  try {
    return window.parent !== window && window.parent.document ? window.parent : null;
  } catch {
    return null;
  }
})();

/** Where Airflow is, with a slash at the end; it may have a path. */
export const root = new URL("..", import.meta.url).href;

const COLOURS = ["bg", "bg-subtle", "bg-muted", "bg-emphasized", "bg-panel", "fg", "fg-muted", "border",
  "border-emphasized", "bg-error", "bg-warning", "bg-info"]
  .map((name) => `--chakra-colors-${name}`);
const SHADES = ["solid", "contrast", "fg", "muted", "subtle"];
const PALETTES = ["brand", "success", "running", "deferred", "warning", "failed", "awaiting_input", "none", "skipped"];
const TOKENS = [...COLOURS, ...PALETTES.flatMap((name) => SHADES.map((shade) => `--chakra-colors-${name}-${shade}`)),
  "--chakra-fonts-body", "--chakra-fonts-mono"];

/** Look like Airflow does now, and whenever its user changes that; a page on its own looks as Airflow last did. */
export function followTheme() {
  const own = document.documentElement;
  const media = window.matchMedia("(prefers-color-scheme: dark)");
  const take = () => {
    const above = around?.document.documentElement;
    const kept = window.localStorage.getItem("theme");
    const dark = above ? above.classList.contains("dark") : kept === "dark" || (kept !== "light" && media.matches);
    own.classList.toggle("dark", dark);
    if (above) {
      const style = around.getComputedStyle(above);
      for (const token of TOKENS) {
        const value = style.getPropertyValue(token).trim();
        if (value) own.style.setProperty(token, value);
      }
    }
  };
  take();
  media.addEventListener("change", take);
  if (around) {
    new around.MutationObserver(take).observe(around.document.documentElement, { attributeFilter: ["class", "style"] });
  }
}

/** Return an element: properties by name, `class`, `data-`, `aria-` and other attributes too; children are text or nodes. */
export function make(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name === "className" ? "class" : name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** Return a link that leaves the page, to Airflow or to a console. */
export function link(href, given, ...children) {
  const handlers = { onclick: (event) => leave(event, href), onauxclick: (event) => event.button === 1 && leave(event, href) };
  return make("a", { href, target: around ? undefined : "_top", ...given, ...handlers }, ...children);
}

function leave(event, href) {
  event.stopPropagation();
  if (!around) return;
  event.preventDefault();
  const elsewhere = new URL(href).origin !== window.location.origin;
  const apart = event.button === 1 || event.ctrlKey || event.metaKey || event.shiftKey || elsewhere;
  const above = around.document.createElement("a");
  above.href = href;
  if (apart) Object.assign(above, { target: "_blank", rel: "noopener noreferrer" });
  above.click();
}

/** Return Airflow's page of a run, or of one of its tasks. */
export function runPage(dagId, runId, taskId) {
  const task = taskId ? `/tasks/${encodeURIComponent(taskId)}` : "";
  return `${root}dags/${encodeURIComponent(dagId)}/runs/${encodeURIComponent(runId)}${task}`;
}

/** Return the tab with the report of a run. */
export const reportPage = (dagId, runId) => `${runPage(dagId, runId)}/plugin/report`;

/** Return the fleet page with one member opened. */
export const memberPage = (host, cluster) => `${root}${fleetPath({ host, cluster })}`;

/**
 * Return the path of the fleet page from where Airflow is, asked to show what `query` has.
 *
 * Behind its own page of a plugin Airflow takes the whole path of what it is to show, with the one that it is under itself.
 */
export function fleetPath(query) {
  const asked = new URLSearchParams(query).toString();
  return `plugin/fleet${asked ? `${new URL(root).pathname}fleet/page?${asked}` : ""}`;
}

/** Return Airflow's page of a DAG. */
export const dagPage = (dagId) => `${root}dags/${encodeURIComponent(dagId)}`;

/** An answer that is none: `status` 0 if there was no answer at all. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Return the JSON that a GET answers, or a POST if there is a body; throws Refused with what Airflow says. */
export async function ask(url, body) {
  const given = body
    ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
    : {};
  let answer;
  try {
    answer = await fetch(url, { ...given, credentials: "same-origin" });
  } catch {
    throw new Refused(0, "Airflow does not answer.");
  }
  const told = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, reason(answer.status, told?.detail));
  return told;
}

function reason(status, detail) {
  if (status === 401) return "You are not signed in any more. Reload Airflow to sign in.";
  if (status === 403) return "You may not see or do this in Airflow.";
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) return detail.map((each) => `${(each.loc ?? []).join(".")}: ${each.msg}`).join("\n");
  if (detail) return JSON.stringify(detail);
  return `Airflow answers ${status}.`;
}

/** Return a link into the KubeSphere console at an address; what leads anywhere but to a web page is shown as text. */
export function consoleLink(address, path, text) {
  return /^https?:/.test(address) ? link(`${address}${path}`, { class: "console", title: "In the KubeSphere console" }, text) : text;
}

/** Return a link to a member's page in the KubeSphere console, "" where no console is known. */
export function memberConsole(address, cluster) {
  return address ? consoleLink(address, `/clusters/${encodeURIComponent(cluster)}/overview`, "Open in KubeSphere") : "";
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** Return a length of time as people say it, by its largest unit, or its two largest below ten. */
export function length(seconds) {
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  if (at < 0) return `${Math.max(0, seconds).toFixed(seconds > 0 ? 1 : 0)} s`;
  const [unit, size] = UNITS[at];
  const whole = Math.floor(seconds / size);
  const [smaller, smallerSize] = UNITS[at + 1] ?? [];
  const rest = smaller ? Math.floor((seconds - whole * size) / smallerSize) : 0;
  return whole < 10 && rest ? `${whole} ${unit} ${rest} ${smaller}` : `${whole} ${unit}`;
}

/** Return a time as Airflow's own pages write it, in the zone that its user has picked, else in the browser's. */
export function clock(text) {
  // Of all languages, Swedish writes times like that.
  try {
    const kept = window.localStorage.getItem("timezone");
    const timeZone = kept?.startsWith('"') ? JSON.parse(kept) : kept;
    return new Date(text).toLocaleString("sv", { timeZone: timeZone || undefined });
  } catch {
    return new Date(text).toLocaleString("sv");
  }
}

const MOMENT = /(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z)/;

/** Return a sentence as nodes: times as clocks here show them, and the run that it names as a link, shortened. */
export function prose(sentence, run) {
  const [before, after] = run ? cut(sentence, run.run_id) : [sentence];
  if (after === undefined) return times(sentence);
  const named = link(runPage(run.dag_id, run.run_id), { class: "short", title: run.run_id }, run.run_id);
  return [...times(before), named, ...times(after)];
}

function cut(text, part) {
  const at = text.indexOf(part);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + part.length)];
}

function times(text) {
  return text.split(MOMENT).map((each) => {
    if (!MOMENT.test(each)) return each;
    return make("time", { dateTime: each, title: each }, clock(each));
  });
}

/** Return a length of time by its largest unit alone. */
export function largest(seconds) {
  const [unit, size] = UNITS.find(([, each]) => seconds >= each) ?? ["s", 1];
  return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
}

/** Return an element that says how long ago something was by its largest unit, and when on hovering. */
export function ago(text, now, words = "ago") {
  const seconds = (now - Date.parse(text)) / 1000;
  const said = seconds < 5 && words ? "just now" : `${largest(seconds)} ${words}`.trim();
  return make("time", { dateTime: text, title: clock(text) }, said);
}

/** Return a box with a text that stands out, `kind` is info, success, warning or error; and what can be done about it. */
export function notice(kind, text, ...more) {
  return make("div", { class: `notice ${kind}`, role: kind.startsWith("error") ? "alert" : undefined }, make("p", {}, ...[text].flat()), ...more);
}

/** Return the head of a table. */
export const head = (...labels) => make("thead", {}, make("tr", {}, ...labels.map((label) => make("th", { scope: "col" }, label))));
