// The chat page. Whatever it says comes from /domain.json; whatever arrives is text and stays text (never innerHTML).

const API = "/ai/chatbot";
// Connections in a row that brought nothing new. At one a second or slower they outlast the 30 s for which the server
// holds a turn that was left.
const RETRIES = 30;
const CALM = [200, 409, 410]; // a sentence of the domain's, a new turn instead, stopped: nothing went wrong

const byId = (id) => document.getElementById(id);

function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // randomUUID is missing on plain http away from localhost.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function sessionId() {
  const fresh = uuid();
  try {
    const kept = sessionStorage.getItem("sessionId") ?? fresh;
    sessionStorage.setItem("sessionId", kept);
    return kept;
  } catch {
    return fresh; // storage is switched off: the session lasts as long as the page
  }
}

// -- one turn's stream ---------------------------------------------------------------------------------------------

/** Follows one turn through any number of connections; calls `view[event](data, status, message)` once an event. */
class Turn {
  constructor(path, parameters, view) {
    this.id = uuid();
    this.url = `${API}/recommendation/${path}?${new URLSearchParams({ ...parameters, turnId: this.id })}`;
    this.view = view;
    this.seen = 0; // the number of the last event that was shown
    this.failures = 0;
    this.over = false;
    this.connect();
  }

  connect() {
    if (this.over) return;
    this.source = new EventSource(this.url);
    for (const name of ["turn", "queue", "sources", "challenge", "item", "close"]) {
      this.source.addEventListener(name, (event) => this.take(name, event));
    }
    // The server's own `error` event carries data; the browser's, of a broken connection, does not.
    this.source.addEventListener("error", (event) => (event.data ? this.take("error", event) : this.broken()));
  }

  take(name, event) {
    if (this.over || this.isOld(event.lastEventId)) return;
    this.failures = 0;
    const { status, message, data } = JSON.parse(event.data);
    if (name === "close") this.finish();
    this.view[name]?.(data, status, message);
  }

  /** A connection that begins anew replays the turn from its first event. */
  isOld(eventId) {
    if (!eventId.startsWith(`${this.id}:`)) return false;
    const number = Number(eventId.slice(this.id.length + 1));
    if (number <= this.seen) return true;
    this.seen = number;
    return false;
  }

  broken() {
    if (this.over) return;
    this.failures += 1;
    if (this.failures > RETRIES) return this.giveUp();
    this.view.waiting();
    // While CONNECTING the browser itself asks again, with Last-Event-ID; once CLOSED it never does.
    if (this.source.readyState === EventSource.CLOSED) {
      setTimeout(() => this.connect(), 1000 + 1000 * Math.random());
    }
  }

  /** Asks the server to stop; its `error` and `close` then end the stream like any other. */
  async stop() {
    try {
      const answer = await fetch(`${API}/turns/${this.id}`, { method: "DELETE", keepalive: true });
      if (!answer.ok) throw new Error(`DELETE: ${answer.status}`);
    } catch (error) {
      console.error(error);
      this.giveUp();
    }
  }

  giveUp() {
    if (this.over) return;
    this.finish();
    this.view.lost();
  }

  finish() {
    this.over = true;
    this.source.close();
  }
}

// -- what a turn looks like ----------------------------------------------------------------------------------------

/** Shows one turn's events under the question that they answer. */
class TurnView {
  constructor(talk, question, texts, ended) {
    this.texts = texts;
    this.ended = ended;
    this.text = document.createTextNode(""); // what is being written, up to now
    this.writing = el("p", { className: "text" }, this.text);
    this.sourcesBox = el("div");
    this.status = el("p", { className: "status", textContent: texts.thinking });
    const answer = el("div", { className: "answer" }, this.writing);
    this.box = el("section", { className: "turn", ariaBusy: "true" }, answer, this.sourcesBox, this.status);
    talk.append(el("p", { className: "asked", textContent: question }), this.box);
    scrollToEnd();
  }

  queue({ position, etaSeconds }) {
    const known = etaSeconds !== null;
    const text = known ? this.texts.queued_eta : this.texts.queued;
    this.say(text.replace("{position}", position).replace("{seconds}", known ? Math.ceil(etaSeconds) : ""));
  }

  sources(sources) {
    if (!sources.length) return;
    const list = el("ul", {}, ...sources.map(({ title }) => el("li", { textContent: title })));
    const summary = el("summary", { textContent: this.texts.sources });
    this.sourcesBox.replaceChildren(el("details", { className: "sources" }, summary, list));
    this.say(this.texts.thinking);
  }

  challenge(piece) {
    this.say("");
    this.write(piece);
  }

  write(text) {
    keepingTheEndInSight(() => this.text.appendData(this.text.length ? text : text.trimStart()));
  }

  /** A finished challenge: its card takes the place of its text. */
  item({ index, title, description, label }) {
    const heading = `${index}. ${title}`;
    const [before, after = ""] = this.text.data.split(`${heading}\n${description}`);
    const lead = before ? [el("p", { className: "text", textContent: before.trimEnd() })] : [];
    const card = el(
      "article",
      { className: "item" },
      el("span", { className: "label", textContent: label }),
      el("h2", { textContent: heading }),
      el("p", { textContent: description }),
    );
    keepingTheEndInSight(() => {
      this.writing.before(...lead, card);
      this.text.data = after.trimStart();
    });
  }

  error(_data, status, message) {
    this.say(status === 200 ? "" : message, !CALM.includes(status));
    if (status === 200) this.write(message); // the domain's own sentence is an answer
  }

  close(_data, status) {
    if (status === 200) this.say(""); // else the error before it has told why
    this.end();
  }

  waiting() {
    this.say(this.texts.reconnecting);
  }

  lost() {
    this.say(this.texts.lost, true);
    this.end();
  }

  say(text, failed = false) {
    if (text === this.status.textContent) return; // once a token: don't lay the page out for nothing
    keepingTheEndInSight(() => {
      this.status.textContent = text;
      this.status.classList.toggle("failed", failed);
    });
  }

  end() {
    this.box.ariaBusy = "false";
    this.ended();
  }
}

/** Scrolls along with what `change` adds, unless the reader has scrolled up. */
function keepingTheEndInSight(change) {
  const page = document.documentElement;
  const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 80;
  change();
  if (atEnd) scrollToEnd();
}

function scrollToEnd() {
  document.documentElement.scrollTop = document.documentElement.scrollHeight;
}

// -- the page ------------------------------------------------------------------------------------------------------

class Page {
  constructor(domain) {
    this.texts = domain.page;
    this.session = sessionId();
    this.turn = null;
    this.speak(domain);
    byId("choices").prepend(...this.choices(domain));
    this.listen(domain);
    byId("chooser").hidden = byId("composer").hidden = false;
  }

  /** Puts the domain's words where the document asks for them. */
  speak({ language, page }) {
    document.documentElement.lang = language;
    document.title = page.title;
    for (const element of document.querySelectorAll("[data-text]")) element.textContent = page[element.dataset.text];
    for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = page[element.dataset.label];
    for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = page[element.dataset.hint];
  }

  choices({ fields, categories, categoryField, page }) {
    const categoryOptions = categories.map(({ code, label, help }) => choice(categoryField, code, label, help));
    return [
      ...fields.map(({ name, label, options }) => {
        const inputs = options.map((option) => choice(name, option, option));
        return group(label, "options", inputs.length ? inputs : [el("input", { type: "text", name, required: true })]);
      }),
      group(page.category, "options cards", categoryOptions),
    ];
  }

  listen({ fields, categories, categoryField }) {
    const labels = new Map(categories.map(({ code, label }) => [code, label]));
    byId("choices").addEventListener("submit", (event) => {
      event.preventDefault();
      const values = Object.fromEntries(new FormData(event.target));
      const told = [...fields.map(({ name }) => values[name]), labels.get(values[categoryField])];
      byId("chooser").open = false;
      this.ask("base-info", values, told.join(" · "));
    });
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.write();
    });
    byId("message").addEventListener("keydown", (event) => {
      // 229: Safari ends a composition just before the Enter that ended it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.write();
    });
    byId("stop").addEventListener("click", () => this.turn?.stop());
    // The server would hold a left turn for its grace, for nobody. A page that may come back keeps it.
    addEventListener("pagehide", (event) => event.persisted || this.turn?.stop());
  }

  write() {
    const field = byId("message");
    const message = field.value.trim();
    if (!message) return;
    field.value = "";
    byId("chooser").open = false;
    this.ask("free-text", { message }, message);
  }

  /** Starts a turn; one that still runs is ended by the server. */
  ask(path, values, question) {
    const view = new TurnView(byId("talk"), question, this.texts, () => this.release(turn));
    const turn = new Turn(path, { sessionId: this.session, ...values }, view);
    this.turn = turn;
    byId("stop").hidden = false;
  }

  release(turn) {
    if (this.turn !== turn) return;
    this.turn = null;
    byId("stop").hidden = true;
  }
}

function group(label, className, options) {
  return el("fieldset", {}, el("legend", { textContent: label }), el("div", { className }, ...options));
}

function choice(name, value, label, help) {
  const input = el("input", { type: "radio", name, value, required: true });
  const shown = el("span", { textContent: label });
  return el("label", {}, input, shown, ...(help ? [el("small", { textContent: help })] : []));
}

async function start() {
  const answer = await fetch("/domain.json");
  if (!answer.ok) throw new Error(`/domain.json: ${answer.status}`);
  new Page(await answer.json());
}

start().catch((error) => {
  console.error(error);
  byId("unreachable").hidden = false;
});
