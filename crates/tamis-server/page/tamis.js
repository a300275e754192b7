// Tamis' search page. Everything that comes from the service is put in as text, never as markup; the address holds the
// whole state, so that a search can be bookmarked, shared and gone back to.
"use strict";

const PAGE_SIZE = 10;
const TERMS_AT_FIRST = 12;
// Questions that the collection of `tamis demo` answers; other collections get none.
const TRIES = { demo: ["why do onions make your eyes water", "how do bees tell each other where the food is", "why is Mars red"] };
const NAMES = { sparse: "Sparse", bm25: "BM25", fused: "Fused" };
const FILTER_EXAMPLES = { keyword: 'NAME = "value"', integer: "NAME >= 2000", float: "NAME < 0.5", bool: "NAME = true", date: "NAME >= 2024-01-01" };

const $ = (id) => document.getElementById(id);
const form = $("form"), box = $("q"), filter = $("filter"), picker = $("collection");
const results = $("results"), lens = $("lens"), status = $("status"), work = $("work"), columns = $("columns");
let collections = [];
let running = null;

/** An element with attributes and children; strings become text nodes. */
function el(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "class") made.className = value;
    else if (key === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (key === "width") made.style.width = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const count = (number) => Number(number).toLocaleString("en");
const weight = (number) => (Math.abs(number) >= 100 ? number.toFixed(1) : Math.abs(number) >= 0.1 ? number.toFixed(2) : number.toPrecision(2));
const percent = (share) => (share >= 0.0995 ? (100 * share).toFixed(0) : (100 * share).toFixed(1)) + " %";
const millis = (number) => (number >= 100 ? number.toFixed(0) : number >= 1 ? number.toFixed(1) : number.toFixed(2));

/** Asks the service; a failed answer becomes an Error that carries the service's own description. */
async function ask(path, body, signal) {
  const options = body ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal } : { signal };
  const answer = await fetch(path, options);
  const json = await answer.json().catch(() => null);
  if (answer.ok && json) return json;
  throw Object.assign(new Error(json && json.message ? json.message : `The service answered ${answer.status}.`), { body: json });
}

/* ---- state and address ---- */

function readAddress() {
  const address = new URLSearchParams(location.search);
  const wanted = address.get("collection");
  const known = collections.some((collection) => collection.name === wanted);
  if (collections.length) picker.value = known || !wanted ? (wanted || collections[0].name) : collections[0].name;
  box.value = address.get("q") || "";
  filter.value = address.get("filter") || "";
  const mode = $("mode-" + (address.get("mode") || "sparse")) || $("mode-sparse");
  mode.checked = true;
  return { offset: Math.max(0, parseInt(address.get("offset") || "0", 10) || 0), unknown: wanted && !known ? wanted : null };
}

function mode() {
  return form.elements.mode.value;
}

function address(offset) {
  const parts = new URLSearchParams();
  if (picker.value) parts.set("collection", picker.value);
  if (box.value) parts.set("q", box.value);
  if (mode() !== "sparse") parts.set("mode", mode());
  if (filter.value) parts.set("filter", filter.value);
  if (offset) parts.set("offset", offset);
  const text = parts.toString();
  return text ? "/?" + text : "/";
}

function go(offset) {
  const target = address(offset);
  if (target !== location.pathname + location.search) history.pushState(null, "", target);
  search(offset);
}

/* ---- searching ---- */

async function search(offset) {
  if (running) running.abort();
  const query = box.value.trim();
  document.title = query ? `${query} · Tamis` : "Tamis";
  if (!query) return showInvitation();
  const mine = (running = new AbortController());
  const body = { q: query, mode: mode(), limit: PAGE_SIZE, offset, highlight: true, explain: true };
  if (filter.value.trim()) body.filter = filter.value.trim();
  columns.classList.add("busy");
  try {
    const answer = await ask(`/v1/collections/${encodeURIComponent(picker.value)}/search`, body, mine.signal);
    if (running === mine) showAnswer(answer, offset);
  } catch (error) {
    if (error.name !== "AbortError" && running === mine) showError(error);
  } finally {
    if (running === mine) columns.classList.remove("busy");
  }
}

function clear() {
  results.replaceChildren();
  lens.replaceChildren();
  lens.hidden = true;
  columns.classList.remove("split", "busy");
  work.textContent = "";
  status.textContent = "";
}

function showAnswer(answer, offset) {
  clear();
  const terms = answer.query.terms;
  if (terms.length) showLens(terms);
  if (!answer.hits.length) {
    showNothing(answer, offset);
  } else {
    const last = offset + answer.hits.length;
    const kinds = answer.exact ? "exact" : "approximate";
    status.append(el("strong", {}, `Hits ${count(offset + 1)} to ${count(last)}`), ` · ${kinds} · ${millis(answer.took_ms.total)} ms`);
    results.append(el("ol", { class: "hits", start: offset + 1 }, answer.hits.map((hit) => hitCard(hit))));
    results.append(pages(offset, answer.hits.length === PAGE_SIZE));
  }
  showWork(answer);
}

function showWork(answer) {
  const split = Object.entries(answer.took_ms).filter(([name]) => name !== "total");
  const times = split.map(([name, took]) => `${name} ${millis(took)}`).join(", ");
  const parts = [`${millis(answer.took_ms.total)} ms (${times})`, `${count(answer.work.postings)} postings touched`];
  if (answer.work.blocks_skipped) parts.push(`${count(answer.work.blocks_skipped)} blocks skipped`);
  parts.push(answer.exact ? "exact" : "approximate");
  work.textContent = parts.join(" · ");
}

function pages(offset, maybeMore) {
  const turn = (to) => ({ click: () => { go(to); scrollTo({ top: 0 }); } });
  const back = el("button", { type: "button", on: turn(Math.max(0, offset - PAGE_SIZE)) }, "← Better hits");
  const next = el("button", { type: "button", on: turn(offset + PAGE_SIZE) }, "Further hits →");
  back.disabled = offset === 0;
  next.disabled = !maybeMore;
  return el("nav", { class: "pages", "aria-label": "Pages" }, back, next);
}

/* ---- the query's terms ---- */

function showLens(terms) {
  const legend = el("p", { class: "legend" }, el("span", {}, "typed"), terms.some((term) => !term.typed) ? el("span", { class: "added" }, "added by the model") : null);
  const inside = el("details", {}, el("summary", {}, el("h2", {}, "How the query was read"), legend));
  const rankings = [...new Set(terms.map((term) => term.source))];
  for (const ranking of rankings) {
    if (rankings.length > 1) inside.append(el("h3", {}, NAMES[ranking]));
    inside.append(...termBars(terms.filter((term) => term.source === ranking)));
  }
  // Beside the hits it is open; above them, on a narrow screen, it would push them out of sight.
  inside.open = matchMedia("(min-width: 900px)").matches;
  lens.append(inside);
  lens.hidden = false;
  columns.classList.add("split");
}

function termBars(terms) {
  // Heaviest first; terms that no document has come last and without a bar.
  const sorted = [...terms].sort((a, b) => (b.df > 0) - (a.df > 0) || b.weight - a.weight);
  const largest = Math.max(...terms.map((term) => (term.df > 0 ? term.weight : 0)), 1e-9);
  const row = (term) => {
    const kind = term.df === 0 ? "absent" : term.typed ? "typed" : "added";
    const said = `${term.term}: weight ${weight(term.weight)}, ${term.typed ? "typed" : "added by the model"}, in ${count(term.df)} documents`;
    return el("li", { class: kind, title: said },
      el("span", { class: "word" }, term.term),
      el("span", { class: "weight" }, term.df === 0 ? "not found" : weight(term.weight)),
      el("div", { class: "track", "aria-hidden": "true" }, el("div", { class: "bar", width: term.df > 0 ? `${Math.max(1, (100 * term.weight) / largest)}%` : "0" })));
  };
  const list = el("ul", { class: "terms" }, sorted.slice(0, TERMS_AT_FIRST).map(row));
  if (sorted.length <= TERMS_AT_FIRST) return [list];
  const more = el("button", { class: "more", type: "button" }, `Show all ${count(sorted.length)} terms`);
  more.addEventListener("click", () => { list.append(...sorted.slice(TERMS_AT_FIRST).map(row)); more.remove(); });
  return [list, more];
}

/* ---- hits ---- */

function hitCard(hit) {
  const card = el("li", { class: "hit", tabindex: "-1" });
  card.append(el("div", { class: "head" },
    el("span", { class: "rank", "aria-hidden": "true" }, String(hit.rank)),
    el("h2", {}, hit.title || hit.id),
    el("span", { class: "score", title: "Score" }, weight(hit.score))));
  if (hit.snippet && hit.snippet.field !== "title") {
    const pieces = hit.snippet.pieces.map((piece) => (piece.match ? el("mark", { class: piece.match }, piece.text) : piece.text));
    card.append(el("p", { class: "snippet" }, hit.snippet.cut_before ? "… " : null, pieces, hit.snippet.cut_after ? " …" : null));
  }
  const facts = Object.entries(hit.fields || {}).filter(([, value]) => value !== null);
  if (hit.title) facts.unshift(["id", hit.id]);
  if (facts.length) {
    const shown = ([name, value]) => el("span", {}, el("b", {}, name), Array.isArray(value) ? value.join(", ") : String(value));
    card.append(el("div", { class: "facts" }, facts.map(shown)));
  }
  if (hit.explain) card.append(...explained(hit.explain));
  return card;
}

/** The contributions behind a score; a fused score has those of two rankings. */
function explained(explain) {
  if (explain.terms.length) return contributions(explain.terms, explain.mode);
  return (explain.parts || []).filter((part) => part.terms.length).flatMap((part) => {
    const rank = part.rank ? `rank ${count(part.rank)}` : "not ranked";
    const said = `${NAMES[part.mode]}: ${rank}, adds ${weight(part.contribution)}`;
    return [el("p", { class: "part" }, said), ...contributions(part.terms, part.mode)];
  });
}

/** The stacked bar of what each term contributed, and behind it the table: query weight × document weight = product. */
function contributions(unsorted, ranking) {
  const terms = [...unsorted].sort((a, b) => b.product - a.product);
  const kind = (term) => (term.typed ? "typed" : "added");
  const stack = el("div", { class: "stack", "aria-hidden": "true" });
  terms.forEach((term, at) => {
    const slice = el("i", { class: kind(term), width: `${100 * term.share}%`, title: `${term.term} ${percent(term.share)}` });
    slice.style.setProperty("--strength", `${Math.max(30, 100 - 14 * at)}%`);
    stack.append(slice);
  });
  const summary = el("summary", { "aria-label": `Why this score, ${NAMES[ranking]}` }, terms.slice(0, 3).map((term) =>
    el("span", {}, el("span", { class: `dot ${kind(term)}` }), `${term.term} ${percent(term.share)}`)),
    terms.length > 3 ? el("span", {}, `and ${count(terms.length - 3)} more`) : null);
  const head = el("tr", {}, ["term", "query", "document", "product", "share"].map((name) => el("th", { scope: "col" }, name)));
  const rows = terms.map((term) => el("tr", {},
    el("td", {}, el("span", { class: `dot ${kind(term)}`, title: term.typed ? "typed" : "added by the model" }), term.term),
    el("td", {}, weight(term.query_weight)), el("td", {}, "× " + weight(term.document_weight)),
    el("td", {}, "= " + weight(term.product)), el("td", {}, percent(term.share))));
  const sum = terms.reduce((total, term) => total + term.product, 0);
  const foot = el("tr", {}, el("td", {}, "sum"), el("td"), el("td"), el("td", {}, weight(sum)), el("td"));
  const table = el("table", {}, el("thead", {}, head), el("tbody", {}, rows), el("tfoot", {}, foot));
  return [stack, el("details", { class: "why" }, summary, el("div", { class: "scroll" }, table))];
}

/* ---- empty and failed ---- */

function showInvitation() {
  clear();
  const collection = collections.find((known) => known.name === picker.value);
  if (!collection) return;
  const documents = `${count(collection.documents)} document${collection.documents === 1 ? "" : "s"}`;
  const calm = el("div", { class: "calm" }, el("h2", {}, `Search ${documents} and see why each one was found`));
  if (collection.documents === 0) {
    calm.firstChild.textContent = `${collection.name} is empty so far`;
    calm.append(el("p", {}, "Send it some documents, one JSON object a line:"),
      el("pre", {}, `curl -X POST '${location.origin}/v1/collections/${collection.name}/documents/bulk?refresh=true' \\\n  --data-binary @documents.jsonl`));
  } else {
    calm.append(el("p", {}, "Every hit shows the terms that found it and what each one weighs, in the query and in the document."));
    const tries = (TRIES[collection.name] || []).map((text) => el("button", { type: "button", on: { click: () => { box.value = text; go(0); } } }, text));
    if (tries.length) calm.append(el("div", { class: "tries" }, tries));
  }
  results.append(calm);
}

function showNoCollections() {
  clear();
  const command = `curl -X POST ${location.origin}/v1/collections \\\n  -d '{"name":"notes","fields":{"year":"integer"}}'\n\n` +
    `curl -X POST '${location.origin}/v1/collections/notes/documents?refresh=true' \\\n  -d '{"id":"1","text":"A tamis is a fine drum sieve.","year":2024}'`;
  results.append(el("div", { class: "calm" }, el("h2", {}, "Nothing to search yet"),
    el("p", {}, "Make a collection and give it a first document:"), el("pre", {}, command),
    el("p", {}, el("button", { class: "plain", type: "button", on: { click: start } }, "Look again"))));
}

function showNothing(answer, offset) {
  const calm = el("div", { class: "calm" });
  if (offset > 0) {
    calm.append(el("h2", {}, "No further hits"), el("p", {}, el("button", { class: "plain", type: "button", on: { click: () => go(0) } }, "Back to the first")));
  } else {
    const known = answer.query.terms.some((term) => term.df > 0);
    const why = filter.value.trim() ? "No document passes the filter and shares a term with the query." : known ? "No document shares a term with the query." : "None of the query's terms occurs in this collection.";
    calm.append(el("h2", {}, "No hits"), el("p", {}, why));
    if (filter.value.trim()) calm.append(el("p", {}, el("button", { class: "plain", type: "button", on: { click: () => { filter.value = ""; go(0); } } }, "Search without the filter")));
  }
  results.append(calm);
}

function showError(error) {
  clear();
  const body = error.body || {};
  const panel = el("div", { class: "failed", role: "alert" }, el("h2", {}, body.code ? body.code.replaceAll("_", " ") : "The service did not answer"), el("p", {}, error.message));
  for (const detail of body.details || []) {
    if (detail.suggestion && !error.message.includes(detail.suggestion)) panel.append(el("p", {}, "Did you mean ", el("strong", {}, detail.suggestion), "?"));
  }
  if (body.code) {
    panel.append(el("p", { class: "small" }, el("a", { href: "/errors#" + encodeURIComponent(body.code) }, "What this means"), body.request_id ? ` · request ${body.request_id}` : ""));
  } else {
    panel.append(el("p", {}, el("button", { class: "plain", type: "button", on: { click: start } }, "Try again")));
  }
  results.append(panel);
}

/* ---- start ---- */

function showFilterHint() {
  const collection = collections.find((known) => known.name === picker.value);
  const fields = Object.entries(collection ? collection.fields : {});
  $("filter-row").hidden = fields.length === 0;
  const hint = $("filter-hint");
  hint.replaceChildren();
  if (!fields.length) { filter.value = ""; return; }
  filter.placeholder = fields.slice(0, 2).map(([name, kind]) => FILTER_EXAMPLES[kind].replace("NAME", name)).join(" AND ");
  hint.append("Fields: ", ...fields.slice(0, 8).flatMap(([name, kind], at) => [at ? ", " : "", el("code", {}, name), ` ${kind}`]), fields.length > 8 ? ", …" : "");
}

function showState() {
  const { offset, unknown } = readAddress();
  showFilterHint();
  if (unknown) return showError(Object.assign(new Error(`There is no collection ${unknown} here (any more).`), { body: { code: "collection_not_found" } }));
  search(offset);
}

async function start() {
  try {
    collections = (await ask("/v1/collections")).collections;
  } catch (error) {
    return showError(error);
  }
  form.hidden = $("picker").hidden = collections.length === 0;
  if (!collections.length) return showNoCollections();
  picker.replaceChildren(...collections.map((collection) => el("option", { value: collection.name }, `${collection.name} (${count(collection.documents)})`)));
  showState();
  if (!matchMedia("(pointer: coarse)").matches && !box.value) box.focus();
}

function move(step) {
  const cards = [...results.querySelectorAll(".hit")];
  if (!cards.length) return;
  const at = cards.indexOf(document.activeElement.closest(".hit"));
  const next = at < 0 ? (step > 0 ? 0 : cards.length - 1) : Math.min(cards.length - 1, Math.max(0, at + step));
  cards[next].focus();
  cards[next].scrollIntoView({ block: "nearest" });
}

form.addEventListener("submit", (event) => { event.preventDefault(); go(0); });
form.addEventListener("change", (event) => { if (event.target.name === "mode" && box.value.trim()) go(0); });
picker.addEventListener("change", () => { filter.value = ""; showFilterHint(); go(0); });
addEventListener("popstate", showState);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input[type=search], input[type=text], select");
  if (event.key === "Escape" && !typing) { box.focus(); return; }
  if (typing) return;
  const why = document.activeElement.closest(".hit")?.querySelector("details.why");
  if (event.key === "/") { event.preventDefault(); box.focus(); box.select(); }
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "e" && why) why.open = !why.open;
});
start();
