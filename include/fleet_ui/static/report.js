// The report of one run, as a tab of Airflow's page of it: what was changed, checked and found, and what to do next.

import { ago, ask, clock, followTheme, head, length, link, make, memberConsole, memberPage, notice, prose, runPage } from "./airflow.js";
import { timeline } from "./timeline.js";

const EVERY = 5_000;

const by = (id) => document.getElementById(id);
const asked = new URLSearchParams(window.location.search);
let known = "";
let told = null;
let timer = 0;

followTheme();
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();

/** Read the report again while its run is at work, and draw what has changed. */
async function refresh() {
  window.clearTimeout(timer);
  try {
    const found = await ask(`report?${new URLSearchParams({ dag_id: asked.get("dag") ?? "", run_id: asked.get("run") ?? "" })}`);
    told = found;
    const text = JSON.stringify({ ...found, now: "" });
    if (text !== known || found.state === "running") draw();
    known = text;
    by("report").querySelector(".refused")?.remove();
  } catch (error) {
    refused(error);
  }
  if (!document.hidden && (!told || ["queued", "running"].includes(told.state))) timer = window.setTimeout(refresh, EVERY);
}

function refused(error) {
  by("report").querySelector(".refused")?.remove();
  const none = error.status === 404;
  const again = none ? "" : make("button", { type: "button", onclick: refresh }, "Try again");
  by("report").prepend(notice(none ? "info refused" : "error refused", error.message, again));
  if (!told) by("about").textContent = none ? "There is nothing to tell of this run." : "The report cannot be shown.";
  if (none) told ??= { state: "" };
}

const now = () => Date.parse(told.now);

function draw() {
  const open = [...by("report").querySelectorAll("details[open]")].map((each) => each.id);
  by("title").textContent = told.title;
  by("about").replaceChildren(...about());
  by("buttons").replaceChildren(...buttons());
  by("report").replaceChildren(...[outcome(), ...told.failures.map(failure), phases(), changes(), proofs(), ...told.checks.map(checks), members(),
    ...record(), listed("Left as it is", told.left), listed("Warnings", told.warnings), planned(), asBefore()].filter(Boolean));
  for (const id of open) by(id)?.setAttribute("open", "");
}

function about() {
  const until = told.ended ? Date.parse(told.ended) : now();
  const parts = [make("span", { class: `badge ${told.state}` }, told.state)];
  const add = (...nodes) => parts.push(" · ", ...nodes);
  if (told.connection) add(told.connection);
  if (told.started) add(told.ended ? "took " : "for ", length((until - Date.parse(told.started)) / 1000));
  if (told.started) add("began ", make("time", { dateTime: told.started, title: told.started }, clock(told.started)));
  add("started by ", told.by || "Airflow");
  for (const each of told.answers.filter((answer) => answer.by)) add(`${each.task_id}: ${each.by} chose ${each.chosen.join(", ")}`);
  return parts;
}

function buttons() {
  const copy = make("button", { type: "button", id: "copy", class: "primary", onclick: () => copyMarkdown(copy) }, "Copy as Markdown");
  const { host, cluster } = told;
  return [
    cluster ? memberConsole(host.console, cluster) : "",
    cluster ? link(memberPage(host.name, cluster), { class: "button" }, "Fleet page") : "",
    copy,
  ].filter(Boolean);
}

async function copyMarkdown(button) {
  const done = await written(told.markdown);
  button.textContent = done ? "Copied" : "Could not copy";
  window.setTimeout(() => { button.textContent = "Copy as Markdown"; }, 2000);
}

async function written(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers keep the clipboard from pages that came without TLS.
    const area = make("textarea", { value: text, class: "aside" });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

const part = (title, ...content) => make("section", {}, make("h2", {}, title), ...content);

function outcome() {
  const { kind, sentence } = told.outcome;
  const kinds = { running: "info", failed: "error", warning: "warning", success: "success" };
  const steps = told.next.map((each) => make("li", {}, ...prose(each)));
  const next = steps.length ? make("div", { class: "steps" }, make("h2", {}, "What to do next"), make("ul", {}, ...steps)) : "";
  return make("div", {}, notice(`${kinds[kind]} outcome`, prose(sentence)), next);
}

function failure(each) {
  const log = (label) => link(runPage(told.dag_id, told.run_id, each.task_id), {}, label);
  // All that it says is the outcome already.
  if (!each.cause && !each.evidence && !each.next && !each.error) return make("p", {}, log(`The log of ${each.task_id}`));
  const tries = each.tries > 1 ? `, ${each.tries} tries` : "";
  return make("section", { class: "failure" },
    make("h2", {}, `${each.task_id} ${each.state === "failed" ? "has failed" : "did not succeed yet"}${tries} `, log("Its log")),
    each.cause ? make("p", {}, each.sentence, make("span", { class: "muted" }, ` (${each.cause})`)) : "",
    each.evidence ? make("p", { class: "muted" }, "Seen: ", ...prose(each.evidence)) : "",
    each.next ? make("p", { class: "next" }, ...prose(each.next)) : "",
    each.error ? folded(`error-${each.task_id}`, "The whole error", !each.cause || !each.next, make("p", { class: "said" }, each.error)) : "");
}

function folded(id, title, open, ...content) {
  return make("details", { id, open }, make("summary", {}, title), ...content);
}

function phases() {
  return told.phases.some((each) => each.started) ? part("Phases", timeline(told, told.phases, now())) : "";
}

function changes() {
  if (told.dag_id === "reconcile_fleet") return "";
  if (!told.changes.length) return part("Changed", make("p", { class: "muted" }, told.only ? "Nothing: it was not meant to." : told.ended ? "Nothing." : "Nothing yet."));
  const rows = told.changes.map((each) => make("tr", {}, make("th", { scope: "row" }, each.task_id), make("td", {}, ...arrows(each.sentence))));
  return part("Changed", make("table", { class: "plain" }, head("By", "What"), make("tbody", {}, ...rows)));
}

function arrows(sentence) {
  return sentence.split("->").flatMap((each, at) => (at ? ["→", each] : [each]));
}

function proofs() {
  if (!told.proofs.length) return "";
  const rows = told.proofs.map((each) => make("tr", {}, make("th", { scope: "row" }, each.of), make("td", {}, each.sentence)));
  return part("Proven", make("table", { class: "plain" }, head("What", "By"), make("tbody", {}, ...rows)));
}

function checks({ title, findings }) {
  const rest = findings.filter((each) => each.answer !== "ok");
  const good = findings.filter((each) => each.answer === "ok");
  const table = (shown) => make("table", { class: "plain" }, head("Check", "Answer", "Seen"), make("tbody", {}, ...shown.map(check)));
  return part(`Checks, ${title.toLowerCase()}`,
    rest.length ? table(rest) : "",
    good.length ? folded(`passed-${title}`, `${good.length} of ${findings.length} passed`, false, table(good)) : "");
}

function check(each) {
  const kind = { ok: "", error: "expired", warning: "soon" }[each.answer] ?? "muted";
  return make("tr", {},
    make("th", { scope: "row" }, each.check),
    make("td", { class: `tight ${kind}` }, each.answer + (each.waived ? ", waived" : "")),
    make("td", {}, ...prose(each.evidence), each.fix ? make("p", { class: "next" }, ...prose(each.fix)) : ""));
}

function members() {
  if (!told.members.length) return "";
  const rows = told.members.map((each) => make("tr", {}, make("th", { scope: "row" }, each.cluster), make("td", {}, each.sentence)));
  return part("Members", make("table", { class: "plain" }, head("Member", "What is told of it"), make("tbody", {}, ...rows)));
}

/** Return what a reconcile has found and started. */
function record() {
  const { record: found } = told;
  if (!found) return [];
  const hosts = found.findings.map((each) => notice("error", `${each.host}: ${each.sentence} ${each.next}`.trim()));
  const rows = found.members.map((each) => make("tr", {},
    make("th", { scope: "row" }, link(memberPage(each.host, each.cluster), {}, `${each.host}/${each.cluster}`)),
    make("td", { class: "tight" }, make("span", { class: `badge ${each.state}` }, each.state)),
    make("td", {}, ...prose(each.sentence), each.waits ? make("p", { class: "muted" }, ...prose(each.waits)) : "", each.next ? make("p", { class: "next" }, ...prose(each.next)) : "")));
  const started = found.actions.map((each) => make("tr", {},
    make("th", { scope: "row" }, `${each.host}/${each.cluster}`),
    make("td", {}, found.dry_run ? each.run_id : link(runPage(each.dag_id, each.run_id), {}, each.run_id))));
  const none = make("p", { class: "muted" }, "Everybody is well.");
  return [
    part("Not well", ...hosts, rows.length ? make("table", { class: "plain" }, head("Member", "State", "Why, and what next"), make("tbody", {}, ...rows)) : hosts.length ? "" : none),
    started.length ? part(found.dry_run ? "Would have started" : "Started", make("table", { class: "plain" }, head("For", "Run"), make("tbody", {}, ...started))) : "",
  ];
}

function listed(title, lines) {
  return lines.length ? part(title, make("ul", {}, ...lines.map((each) => make("li", {}, ...prose(each))))) : "";
}

function planned() {
  const { plan, only } = told;
  if (!plan) return "";
  const objects = plan.entries.map((entry) => make("div", { class: "object" },
    make("h3", {}, `${entry.cluster}: ${entry.verb} ${entry.object}`),
    entry.fields.length ? make("table", { class: "plain" }, head("Field", "Old", "New"), make("tbody", {}, ...entry.fields.map((each) => make("tr", {},
      make("th", { scope: "row" }, each.field), make("td", { class: "code" }, each.old ?? ""), make("td", { class: "code" }, each.new))))) : ""));
  const said = [...plan.consequences, ...plan.notes].map((each) => make("li", {}, each));
  return part("Plan", make("p", {}, plan.summary), said.length ? make("ul", {}, ...said) : "",
    objects.length ? folded("plan-fields", "Field by field, old and new", only === "plan" || told.phases.some((each) => each.state === "awaiting_input"), ...objects) : "");
}

function asBefore() {
  if (!told.unchanged.length) return "";
  return part("As it was", folded("unchanged", `${told.unchanged.length} found as they have to be`, false, make("ul", {}, ...told.unchanged.map((each) => make("li", {}, each)))));
}
