// The fleet page: what the last reconcile recorded, and what runs have begun since.

import { ago, ask, clock, consoleLink, dagPage, followTheme, head, length, link, make, memberConsole, notice, prose, reportPage, runPage } from "./airflow.js";
import { start } from "./form.js";
import { timeline } from "./timeline.js";

// The worst first; also the order of the bar.
const STATES = ["failed", "unreachable", "drifted", "leaving", "joining", "undeclared", "paused", "left", "healthy"];
const ORDERS = {
  state: ["Worst first", (row) => STATES.indexOf(row.state)],
  cluster: ["Name", () => 0],
  since: ["Changed last", (row) => -Date.parse(row.since ?? 0)],
  connection: ["Connection type", (row) => row.connection],
  version: ["KubeSphere version", (row) => row.kubesphere ?? ""],
  nodes: ["Nodes", (row) => -(row.nodes ?? -1)],
  certificate: ["Certificate ends first", (row) => (row.credential_expires ? Date.parse(row.credential_expires) : Infinity)],
  last: ["Last run", (row) => -(row.last?.at ? Date.parse(row.last.at) : 0)],
};
const COLUMNS = [["cluster", "Member"], ["state", "State"], ["", "Why, and what next"], ["connection", "Connection"],
  ["version", "Versions"], ["nodes", "Nodes"], ["certificate", "Certificate"], ["last", "Last run"]];
const SOON_DAYS = 14;
const EVERY = 30_000;
const EVERY_AT_WORK = 5_000;

const by = (id) => document.getElementById(id);
const asked = new URLSearchParams(window.location.search);
const shown = {
  data: null,
  text: asked.get("q") ?? "",
  host: asked.get("host") ?? "",
  states: new Set(asked.getAll("state").filter((state) => STATES.includes(state))),
  order: "state",
  open: new Map(), // by host and cluster: what is known of an opened row, null until it is
};
if (asked.get("cluster")) {
  shown.open.set(key(shown.host, asked.get("cluster")), null);
  shown.text ||= asked.get("cluster");
}
let known = "";
let timer = 0;

followTheme();
by("search").value = shown.text;
by("search").addEventListener("input", (event) => { shown.text = event.target.value; draw(); });
by("host").addEventListener("change", (event) => { shown.host = event.target.value; draw(); });
by("order").addEventListener("change", (event) => { shown.order = event.target.value; draw(); });
by("order").append(...Object.entries(ORDERS).map(([value, [label]]) => make("option", { value }, label)));
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();

/** Read everything again, and draw what has changed. */
async function refresh() {
  window.clearTimeout(timer);
  try {
    const data = await ask("data");
    shown.data = data;
    const text = JSON.stringify({ ...data, now: "" });
    await Promise.all([...shown.open.keys()].map((each) => look(each)));
    if (text !== known || shown.open.size) draw();
    known = text;
    drawAge();
    by("notices").querySelector(".refused")?.remove();
  } catch (error) {
    refused(error);
  }
  const working = shown.data?.hosts.some((host) => host.members.some((row) => row.state === "joining" || row.state === "leaving"));
  const busy = working || shown.data?.reconcile.last?.state === "running";
  if (!document.hidden) timer = window.setTimeout(refresh, busy ? EVERY_AT_WORK : EVERY);
}

function refused(error) {
  const why = error.status === 403
    ? "The fleet is for those who may read XComs of the DAG reconcile_fleet. Ask whoever gives out rights in this Airflow."
    : error.message;
  const text = shown.data ? `What you see is from before: ${why}` : why;
  by("notices").querySelector(".refused")?.remove();
  by("notices").prepend(notice("error refused", text, make("button", { type: "button", onclick: refresh }, "Try again")));
  if (!shown.data) by("age").textContent = "The fleet cannot be shown.";
}

function key(host, cluster) {
  return `${host}/${cluster}`;
}

/** Read what an opened row shows. */
async function look(of) {
  const found = rows().find((each) => key(each.host.name, each.row.cluster) === of);
  if (!found) return;
  const query = new URLSearchParams({ host: found.host.name, cluster: found.row.cluster, conn_id: found.host.conn_id });
  const told = await ask(`member?${query}`).catch((error) => ({ error: error.message }));
  // It may have been closed meanwhile.
  if (shown.open.has(of)) shown.open.set(of, told);
}

const now = () => Date.parse(shown.data.now);
const rows = () => shown.data.hosts.flatMap((host) => host.members.map((row) => ({ host, row })));

function drawAge() {
  const { record, reconcile } = shown.data;
  const at = by("age");
  if (!record) {
    at.textContent = "Nothing is recorded yet.";
    return;
  }
  const run = link(runPage(reconcile.dag_id, record.run_id), {}, "reconcile");
  at.replaceChildren("As the ", run, " saw it ", ago(record.observed_at, now()), record.dry_run ? ", which only looked" : "");
  if (reconcile.last?.state === "running") {
    at.append(" · ", link(runPage(reconcile.dag_id, reconcile.last.run_id), { class: "working" }, "looking again now"));
  } else if (reconcile.due && !reconcile.paused && Date.parse(reconcile.due) > now()) {
    at.append(` · next in ${length(60 * Math.ceil((Date.parse(reconcile.due) - now()) / 60_000))}`);
  }
}

function draw() {
  const focused = document.activeElement?.id;
  const { data } = shown;
  const any = rows().length > 0;
  by("summary").hidden = by("tools").hidden = !any;
  drawButtons();
  drawNotices();
  drawStates();
  drawTools();
  const found = rows().filter(matches);
  const hosts = data.hosts.filter((host) => !shown.host || host.name === shown.host);
  by("fleet").replaceChildren(...(data.record || any ? hosts.map((host) => drawHost(host, found)) : [nothing()]));
  by("shown").textContent = found.length === rows().length ? `${found.length} members` : `${found.length} of ${rows().length} members`;
  if (any && !found.length) by("fleet").replaceChildren(noMatch());
  if (focused && focused !== document.activeElement?.id) by(focused)?.focus({ preventScroll: true });
}

function drawButtons() {
  const { may, record, reconcile: going } = shown.data;
  const button = (verb, label, primary, act) =>
    may[verb] && (record || going.last || verb === "join") ? make("button", { type: "button", id: `do-${verb}`, class: primary ? "primary" : "", onclick: act }, label) : "";
  by("buttons").replaceChildren(
    ...[button("reconcile", "Reconcile now", false, reconcileAll), button("join", "Join a member", true, joinNew)].filter(Boolean),
  );
  if (!Object.values(may).some(Boolean)) by("buttons").replaceChildren(make("span", { class: "muted" }, "You may look, and start nothing."));
}

function drawNotices() {
  const { stale, record, reconcile } = shown.data;
  const kept = by("notices").querySelector(".refused");
  const run = reconcile.last ? link(runPage(reconcile.dag_id, reconcile.last.run_id), {}, "Its last run") : link(dagPage(reconcile.dag_id), {}, "The DAG");
  const found = [];
  if (stale) found.push(notice("warning", prose(stale, reconcile.last ? { dag_id: reconcile.dag_id, ...reconcile.last } : null), run));
  if (record?.partial) found.push(notice("info", "The last reconcile looked at a part of the fleet; the rest stands as it was before."));
  by("notices").replaceChildren(...(kept ? [kept] : []), ...found);
}

function drawStates() {
  const { counts } = shown.data;
  const present = STATES.filter((state) => counts[state] || shown.states.has(state));
  by("bar").replaceChildren(...present.filter((state) => counts[state]).map((state) => {
    const part = make("span", { class: `part ${state}`, title: `${counts[state]} ${state}` });
    part.style.flexGrow = counts[state];
    return part;
  }));
  by("states").replaceChildren(...present.map((state) => make(
    "button",
    { type: "button", id: `only-${state}`, class: `state ${state}`, "aria-pressed": String(shown.states.has(state)), onclick: () => toggle(state) },
    make("span", { class: "count" }, String(counts[state] ?? 0)),
    state,
  )));
}

function toggle(state) {
  if (!shown.states.delete(state)) shown.states.add(state);
  draw();
}

function drawTools() {
  const names = shown.data.hosts.map((host) => host.name);
  if (!names.includes(shown.host)) shown.host = "";
  by("host").replaceChildren(make("option", { value: "" }, "All hosts"), ...names.map((name) => make("option", { value: name }, name)));
  by("host").value = shown.host;
  by("host").hidden = names.length < 2;
  by("order").value = shown.order;
}

function matches({ host, row }) {
  if (shown.host && host.name !== shown.host) return false;
  if (shown.states.size && !shown.states.has(row.state)) return false;
  const text = [host.name, row.cluster, row.state, row.sentence, row.waits, row.description, row.group, row.provider, row.connection,
    row.kubernetes, row.kubesphere, ...(row.drift ?? [])].join(" ").toLowerCase();
  return shown.text.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function ordered(found) {
  const [, value] = ORDERS[shown.order];
  return found.map(({ row }) => [value(row), row]).sort(([one, a], [other, b]) => {
    if (one !== other) return one < other ? -1 : 1;
    return a.cluster.localeCompare(b.cluster, undefined, { numeric: true });
  }).map(([, row]) => row);
}

function drawHost(host, found) {
  const own = ordered(found.filter((each) => each.host === host));
  if (!own.length && (shown.text || shown.states.size)) return "";
  const title = host.console ? consoleLink(host.console, "/clusters", host.name) : host.name;
  const notes = [];
  if (host.kubesphere) notes.push(`KubeSphere ${host.kubesphere}`);
  notes.push(own.length === 1 ? "1 member" : `${own.length} members`);
  if (host.paused) notes.push("paused in the inventory");
  if (!host.open) notes.push("outside of its maintenance windows");
  return make(
    "section",
    { class: "host", "aria-label": `Host ${host.name}` },
    make("div", { class: "host-heading" }, make("h2", {}, title), make("p", { class: "muted" }, notes.join(" · "))),
    ...host.findings.map((each) => notice("error", `${each.sentence} ${each.next}`.trim())),
    own.length ? table(host, own) : make("p", { class: "muted none" }, "It has no members yet."),
  );
}

function table(host, own) {
  const heads = COLUMNS.map(([order, label]) => make(
    "th",
    { scope: "col", class: `of-${order || "why"}`, "aria-sort": order && order === shown.order ? "ascending" : undefined },
    order ? make("button", { type: "button", id: `by-${host.name}-${order}`, onclick: () => { shown.order = order; draw(); } }, label) : label,
  ));
  return make(
    "table",
    { class: "members" },
    make("thead", {}, make("tr", {}, ...heads)),
    make("tbody", {}, ...own.flatMap((row) => drawRow(host, row))),
  );
}

function drawRow(host, row) {
  const of = key(host.name, row.cluster);
  const open = shown.open.has(of);
  const opener = make(
    "button",
    { type: "button", class: "opener", id: `open-${of}`, "aria-expanded": String(open), onclick: (event) => { event.stopPropagation(); flip(of); } },
    row.cluster,
  );
  const drawn = make(
    "tr",
    { class: open ? "row open" : "row", onclick: () => { if (!window.getSelection()?.toString()) flip(of); } },
    make("td", { class: "of-cluster" }, opener, row.description ? make("p", { class: "muted description" }, row.description) : ""),
    make("td", { class: "of-state" }, badge(row.state), row.since ? make("p", { class: "muted" }, ago(row.since, now(), "")) : ""),
    make("td", { class: "of-why" }, ...why(row)),
    make("td", { class: "of-connection" }, row.connection ?? ""),
    make("td", { class: "of-version" }, ...versions(row)),
    make("td", { class: "of-nodes", "data-label": row.nodes === 1 ? "node" : "nodes" }, row.nodes === undefined ? "" : String(row.nodes)),
    make("td", { class: "of-certificate" }, certificate(row)),
    make("td", { class: "of-last" }, row.last ? runLink(row.last) : ""),
  );
  if (!open) return [drawn];
  return [drawn, make("tr", { class: "opened" }, make("td", { colSpan: COLUMNS.length }, detail(host, row, shown.open.get(of))))];
}

async function flip(of) {
  if (shown.open.delete(of)) {
    draw();
    return;
  }
  shown.open.set(of, null);
  draw();
  await look(of);
  draw();
}

const badge = (state) => make("span", { class: `badge ${state}` }, state);

function why(row) {
  return [
    row.sentence ? make("p", {}, ...prose(row.sentence, row.names)) : "",
    row.news ? make("p", { class: "muted" }, ...prose(row.news, row.last)) : "",
    row.waits ? make("p", { class: "muted" }, ...prose(row.waits)) : "",
    row.next ? make("p", { class: "next" }, ...prose(row.next)) : "",
  ];
}

function versions(row) {
  return [
    row.kubesphere ? make("p", { title: "KubeSphere" }, row.kubesphere) : "",
    row.kubernetes ? make("p", { class: "muted", title: "Kubernetes" }, `k8s ${row.kubernetes}`) : "",
  ];
}

function certificate(row) {
  if (!row.credential_expires) return "";
  const days = Math.floor((Date.parse(row.credential_expires) - now()) / 86_400_000);
  const text = days < 0 ? "expired" : days === 1 ? "1 day" : `${days} days`;
  const title = `The credential that the host uses ends ${clock(row.credential_expires)}`;
  return make("span", { class: days < 0 ? "expired" : days < SOON_DAYS ? "soon" : "", title }, text);
}

function runLink(run) {
  const verb = run.dag_id === shown.data.dags.leave ? "leave" : "join";
  return link(
    runPage(run.dag_id, run.run_id),
    { class: `run ${run.state}`, title: `${run.run_id}: ${run.state}` },
    make("span", { class: "dot", "aria-hidden": "true" }),
    `${verb} ${run.state}`,
    run.at ? make("span", { class: "muted" }, ago(run.at, now())) : "",
  );
}

/** Return what an opened row shows. */
function detail(host, row, found) {
  if (!found) return make("p", { class: "muted" }, "Loading …");
  if (found.error) return notice("error", found.error);
  const { member, runs, last, phases } = found;
  const parts = [actions(host, row, member)];
  if (member?.drift.length) parts.push(part("Drift", drift(member)));
  if (phases.length) parts.push(part(phasesTitle(last), about(last), timeline(last, phases, now())));
  const sides = [];
  if (member?.conditions?.length) sides.push(part("Conditions", conditions(member)));
  if (runs.length || member?.attempts.length) sides.push(part("History", history(runs, member)));
  if (member) sides.push(part("Facts", facts(member)));
  return make("div", { class: "detail" }, ...parts, make("div", { class: "sides" }, ...sides));
}

const part = (title, ...content) => make("section", {}, make("h3", {}, title), ...content);

function actions(host, row, member) {
  const { may } = shown.data;
  const conf = { cluster: row.cluster, host_conn_id: host.conn_id, ...member?.conf };
  const button = (verb, label, act, kind = "") => (may[verb] ? make("button", { type: "button", class: kind, onclick: act }, label) : "");
  const members = { hosts: [host.name], members: [row.cluster] };
  const working = row.state === "joining" || row.state === "leaving";
  const gone = working || row.state === "left";
  return make(
    "div",
    { class: "buttons" },
    working ? "" : button("join", row.state === "healthy" ? "Join again" : "Join", () => join(row, conf), row.state === "healthy" ? "" : "primary"),
    button("join", "Plan", () => plan(row, conf)),
    row.declared ? button("reconcile", "Reconcile", () => reconcile(members)) : "",
    gone ? "" : button("leave", "Take out", () => leave(row, conf), "harmful"),
    memberConsole(host.console, row.cluster),
  );
}

function begun(run) {
  if (run.conf?.cluster) {
    const found = rows().find(({ host, row }) => row.cluster === run.conf.cluster && host.conn_id === run.conf.host_conn_id);
    if (found) shown.open.set(key(found.host.name, found.row.cluster), null);
  }
  refresh();
}

/** Return how a member is, for the note of a run. */
const reason = (row) => `It was ${row.state}${row.sentence ? `: ${row.sentence}` : "."}`;

function join(row, conf) {
  const { cluster } = row;
  start(by("form"), {
    dagId: shown.data.dags.join, title: `Join ${cluster}`, verb: "Join", conf, fixed: ["cluster"], subject: cluster, why: reason(row), done: begun,
    text: "One run joins the member to its host and proves it. What is there already is left alone.",
  });
}

function joinNew() {
  const { hosts } = shown.data;
  start(by("form"), {
    dagId: shown.data.dags.join, title: "Join a member", verb: "Join", conf: hosts.length === 1 ? { host_conn_id: hosts[0].conn_id } : {}, done: begun,
    text: "One run joins one member cluster to one host cluster, and proves it. Declare it in the inventory too, to have it kept joined.",
  });
}

function plan(row, conf) {
  const { cluster } = row;
  start(by("form"), {
    dagId: shown.data.dags.join, title: `Plan the join of ${cluster}`, verb: "Plan", conf: { ...conf, plan_only: true },
    fixed: ["cluster", "plan_only"], subject: `plan_${cluster}`, why: reason(row), done: begun,
    text: "The run shows every object and field that a join would create or change, and ends. Nothing is written.",
  });
}

function leave(row, { host_conn_id, member_conn_id }) {
  const { cluster } = row;
  const conf = Object.fromEntries(Object.entries({ cluster, host_conn_id, member_conn_id }).filter(([, value]) => value));
  start(by("form"), {
    dagId: shown.data.dags.leave, title: `Take ${cluster} out of its host`, verb: "Take out", conf, fixed: ["cluster"],
    subject: `leave_${cluster}`, why: reason(row), harmful: true, done: begun,
    text: "One run takes the member out and brings it back to what it was before the join. Its users are logged out. " +
      "A member that stays in the inventory is joined again by the next reconcile.",
  });
}

function reconcile(conf) {
  start(by("form"), {
    dagId: shown.data.dags.reconcile, title: "Reconcile now", verb: "Reconcile", conf, subject: conf.members?.[0] ?? "all", done: begun,
    text: "Looks at every host and member of the inventory, says what is not as declared, and repairs it by joins.",
  });
}

function drift({ drift: found }) {
  const repairs = { join: "a join", rejoin: "a leave, then a join", renew: "a join with the newer credential", person: "a person" };
  const body = found.map((each) => make("tr", {},
    make("th", { scope: "row" }, each.kind),
    make("td", {}, each.sentence, each.next ? make("p", { class: "next" }, each.next) : ""),
    make("td", {}, repairs[each.repair] ?? each.repair)));
  return make("table", { class: "plain" }, head("Kind", "What differs", "Repaired by"), make("tbody", {}, ...body));
}

function conditions({ conditions: found }) {
  const body = found.map((each) => make("tr", {},
    make("th", { scope: "row" }, each.type),
    make("td", { class: each.status === (each.type.includes("Expires") ? "False" : "True") ? "tight" : "tight soon" }, each.status),
    make("td", {}, each.reason === each.type ? "" : each.reason),
    make("td", { class: "muted tight" }, each.since ? ago(each.since, now()) : "")));
  return make("table", { class: "plain" }, head("Type", "Status", "Reason", "Since"), make("tbody", {}, ...body));
}

function history(runs, member) {
  const told = new Set(runs.map((run) => run.run_id));
  // What the record knows of and Airflow has no run of any more.
  const older = (member?.attempts ?? []).filter((each) => !told.has(each.run_id));
  const body = runs.map((run) => make("tr", {},
    make("td", {}, link(runPage(run.dag_id, run.run_id), { class: `run ${run.state}` }, make("span", { class: "dot", "aria-hidden": "true" }), run.run_id)),
    make("td", { class: "tight" }, run.changes ? run.state : `${run.state}, only looked`),
    make("td", { class: "muted tight" }, run.by),
    make("td", { class: "muted tight" }, run.at ? ago(run.at, now()) : "")));
  const rest = older.map((each) => make("tr", {},
    make("td", {}, each.run_id), make("td", { class: "tight" }, each.state), make("td", { class: "muted tight" }, "reconcile"), make("td", { class: "muted tight" }, ago(each.started, now()))));
  const failed = (member?.attempts ?? []).find((each) => each.diagnosis?.sentence);
  const diagnosis = failed ? make("p", { class: "next" }, `${failed.diagnosis.sentence} ${failed.diagnosis.next ?? ""}`.trim()) : "";
  return make("div", {}, make("table", { class: "plain" }, head("Run", "State", "By", "When"), make("tbody", {}, ...body, ...rest)), diagnosis);
}

function facts(member) {
  const shownFacts = [
    ["API server", member.server], ["Role", member.role], ["jwtSecret", member.jwt_secret], ["kube-system UID", member.uid],
    ["Host connection", member.conf.host_conn_id], ["Member connection", member.conf.member_conn_id],
    ["Cluster made", member.created ? clock(member.created) : ""],
    ["Credential ends", member.credential_expires ? clock(member.credential_expires) : ""],
    ["Labels", Object.entries(member.labels ?? {}).map(([name, value]) => `${name}=${value}`).join("\n")],
  ];
  return make("dl", {}, ...shownFacts.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function phasesTitle(last) {
  const verb = last.dag_id === shown.data.dags.leave ? "leave" : "join";
  return `Phases of the last ${verb}`;
}

/** Return which run it is, and how long it takes or has taken. */
function about(run) {
  const dot = make("span", { class: "dot", "aria-hidden": "true" });
  const until = run.ended ? Date.parse(run.ended) : now();
  const took = run.started ? ` ${run.ended ? "after" : "for"} ${length((until - Date.parse(run.started)) / 1000)}` : "";
  return make("p", {}, link(runPage(run.dag_id, run.run_id), { class: `run ${run.state}` }, dot, run.run_id), ` ${run.state}${took}. `,
    link(reportPage(run.dag_id, run.run_id), {}, "Report"));
}

function nothing() {
  const { nothing: text, reconcile, may } = shown.data;
  return make(
    "div",
    { class: "empty" },
    make("h2", {}, "No fleet to show yet"),
    make("p", {}, text),
    make("div", { class: "buttons" },
      reconcile.last ? link(runPage(reconcile.dag_id, reconcile.last.run_id), { class: "button" }, "The last reconcile") : "",
      may.reconcile && !reconcile.last ? make("button", { type: "button", class: "primary", onclick: reconcileAll }, "Reconcile now") : ""),
  );
}

const reconcileAll = () => reconcile({});

function noMatch() {
  const clear = () => {
    shown.text = by("search").value = "";
    shown.host = "";
    shown.states.clear();
    draw();
  };
  return make("div", { class: "empty" }, make("h2", {}, "No member matches"), make("p", {}, "None has what was searched for in the states that were picked."),
    make("div", { class: "buttons" }, make("button", { type: "button", onclick: clear }, "Show all")));
}
