// Starting a run: the DAG's own trigger form, filled in, sent to Airflow's REST API with the session of whoever looks.
//
// Airflow 3.3 has no address for its form that would fill it in, so it is built here from the same parameters.

import { ask, link, make, root, runPage } from "./airflow.js";

const ORIGIN = "fleet";
const LONGEST_NOTE = 1000; // what Airflow keeps

/**
 * Ask for what a run takes, and start it.
 *
 * `dagId` is the DAG, `title` and `text` say what happens, `conf` fills the form in, `fixed` are keys that are not to be
 * changed, `subject` becomes part of the run's id, `why` of its note, `done` is called with the run when it has begun.
 */
export async function start(dialog, { dagId, title, text, verb, conf, fixed = [], subject, why, harmful, done }) {
  const body = make("div", { class: "fields" }, make("p", { class: "muted" }, "Loading the form …"));
  const problem = make("p", { class: "problem", role: "alert", hidden: true });
  const submit = make("button", { class: harmful ? "primary harmful" : "primary", type: "submit", disabled: true }, verb);
  const cancel = make("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = make(
    "form",
    { onsubmit: (event) => { event.preventDefault(); send(); } },
    make("h2", { id: "form-title" }, title),
    make("p", { class: "muted" }, text),
    body,
    problem,
    make("div", { class: "buttons" }, cancel, submit),
  );
  dialog.replaceChildren(form);
  dialog.showModal();
  const tell = (error) => { problem.textContent = error.message; problem.hidden = false; };
  let fields = [];
  try {
    const dag = await ask(`${root}api/v2/dags/${encodeURIComponent(dagId)}/details`);
    fields = Object.entries(dag.params ?? {}).map(([key, param]) => field(key, param, conf, fixed));
    body.replaceChildren(...sections(fields));
    submit.disabled = false;
    (fields.find((each) => each.first && !each.fixed)?.input ?? submit).focus();
  } catch (error) {
    body.replaceChildren();
    tell(error);
  }

  async function send() {
    problem.hidden = true;
    let given;
    try {
      given = Object.fromEntries(fields.map((each) => [each.key, each.read()]).filter(([, value]) => value !== undefined));
    } catch (error) {
      tell(error);
      return;
    }
    submit.disabled = true;
    try {
      const name = subject ?? given.cluster ?? "";
      const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
      const id = [ORIGIN, name, stamp].filter(Boolean).join("__").replace(/[^A-Za-z0-9_.~:+-]/g, "_");
      const path = `${root}api/v2/dags/${encodeURIComponent(dagId)}/dagRuns`;
      const run = await ask(path, { logical_date: null, dag_run_id: id, conf: given, note: note(given) });
      begun(run);
      done?.(run);
    } catch (error) {
      submit.disabled = false;
      tell(error);
    }
  }

  /** Say what the run is for, in a sentence that names the member, and why. */
  function note(given) {
    const what = given.cluster && !title.includes(given.cluster) ? `${title}: ${given.cluster}` : title;
    const where = given.host_conn_id ? ` (host connection ${given.host_conn_id})` : "";
    return [`${what}${where}. Started on the fleet page.`, why].filter(Boolean).join(" ").slice(0, LONGEST_NOTE);
  }

  function begun(run) {
    const close = make("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close");
    dialog.replaceChildren(
      make("h2", { id: "form-title" }, "The run has begun"),
      make("p", {}, link(runPage(run.dag_id, run.dag_run_id), {}, run.dag_run_id)),
      make("p", { class: "muted" }, "The fleet page follows it too."),
      make("div", { class: "buttons" }, close),
    );
    close.focus();
  }
}

/** Return what is asked for first, and the rest folded away by its section. */
function sections(fields) {
  const folded = new Map();
  for (const each of fields.filter((field) => !field.first)) folded.set(each.section, [...(folded.get(each.section) ?? []), each]);
  return [
    ...fields.filter((each) => each.first).map((each) => each.row),
    ...[...folded].map(([name, rows]) => make("details", {}, make("summary", {}, name), ...rows.map((each) => each.row))),
  ];
}

/** Return a field of the form: `read` gives its value, undefined where it is the DAG's own. */
function field(key, param, conf, fixed) {
  const schema = param.schema ?? {};
  const types = [schema.type].flat();
  const given = key in conf;
  const value = given ? conf[key] : param.value;
  const required = param.value === null && !types.includes("null");
  const id = `field-${key}`;
  const input = control(schema, types, value, { id, required, disabled: fixed.includes(key) });
  const read = () => {
    const found = parse(input, types, schema.title ?? key);
    return given || JSON.stringify(found) !== JSON.stringify(param.value) ? found : undefined;
  };
  const hint = param.description ?? schema.description;
  const label = make("label", { htmlFor: id }, schema.title ?? key, required ? make("span", { class: "needed", title: "needed" }, " *") : "");
  const tick = input.type === "checkbox";
  const told = hint ? make("p", { class: "hint", id: `${id}-hint` }, hint) : "";
  if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
  const row = tick
    ? make("div", { class: "field" }, make("div", { class: "tick" }, input, label), told)
    : make("div", { class: "field" }, label, input, told);
  return { key, input, row, read, fixed: fixed.includes(key), section: schema.section ?? "Other", first: given || !schema.section };
}

function control(schema, types, value, given) {
  if (schema.enum) {
    const made = make("select", given, ...schema.enum.map((each) => make("option", { value: each ?? "" }, String(each ?? ""))));
    made.value = value ?? "";
    return made;
  }
  if (types.includes("boolean")) return make("input", { ...given, required: false, type: "checkbox", checked: value === true });
  if (types.includes("integer") || types.includes("number")) {
    return make("input", { ...given, type: "number", min: schema.minimum, max: schema.maximum, value: value ?? "" });
  }
  if (types.includes("array")) return make("textarea", { ...given, rows: 2, placeholder: "One on each line", value: (value ?? []).join("\n") });
  if (types.includes("object")) {
    const empty = value === null || value === undefined || Object.keys(value).length === 0;
    return make("textarea", { ...given, rows: 2, placeholder: "{}", value: empty ? "" : JSON.stringify(value, null, 2) });
  }
  return make("input", { ...given, type: "text", value: value ?? "", autocomplete: "off", spellcheck: false });
}

function parse(input, types, title) {
  if (input.type === "checkbox") return input.checked;
  const text = input.value.trim();
  if (types.includes("array")) return text ? text.split("\n").map((line) => line.trim()).filter(Boolean) : [];
  if (text === "") return types.includes("null") ? null : types.includes("object") ? {} : "";
  if (types.includes("integer") || types.includes("number")) return Number(text);
  if (types.includes("object")) {
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`${title}: not JSON.`);
    }
  }
  return text;
}
