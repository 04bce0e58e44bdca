"use strict";
(() => {
  const lanes = JSON.parse(document.getElementById("lanes").textContent);

  // What histories hold goes into the page as text only, by textContent.
  const eventNode = (scenario, [seq, at, lane, text, detail], isWitness) => {
    const node = document.createElement("details");
    node.id = `e${scenario}-${seq}`;
    node.className = isWitness ? "event witness" : "event";
    const summary = document.createElement("summary");
    for (const part of [`#${seq}`, `${at.toFixed(3)} s`, lanes[lane], text]) {
      const cell = document.createElement("span");
      cell.textContent = part;
      summary.append(cell);
    }
    const pre = document.createElement("pre");
    pre.textContent = readable(detail);
    node.append(summary, pre);
    return node;
  };

  const readable = (detail) => {
    try { return JSON.stringify(JSON.parse(detail), null, 2); } catch { return detail; }
  };

  const showAll = (button) => {
    const scenario = button.dataset.all;
    const list = document.getElementById(`history-${scenario}`);
    const witnesses = new Set(JSON.parse(button.dataset.witnesses));
    const events = JSON.parse(document.getElementById(`events-${scenario}`).textContent);
    const known = new Map([...list.children].map((node) => [node.id, node]));
    list.replaceChildren(...events.map((event) =>
      known.get(`e${scenario}-${event[0]}`) ?? eventNode(scenario, event, witnesses.has(event[0]))));
    button.hidden = true;
  };

  // A link to an event opens whatever it lies in, and loads the events that are not shown yet.
  const open = (id) => {
    let target = document.getElementById(id);
    const found = /^e(\d+)-\d+$/.exec(id);
    if (!target && found) {
      const button = document.querySelector(`button[data-all="${found[1]}"]`);
      if (button) showAll(button);
      target = document.getElementById(id);
    }
    if (!target) return;
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    target.scrollIntoView({ block: "center" });
    (target.querySelector("summary") ?? target).focus?.({ preventScroll: true });
  };

  document.addEventListener("click", (happened) => {
    const button = happened.target.closest("button");
    if (button?.dataset.all !== undefined) showAll(button);
    if (button?.dataset.copy !== undefined) {
      const text = document.getElementById(button.dataset.copy).textContent;
      navigator.clipboard?.writeText(text).then(() => { button.textContent = "copied"; }, () => {});
    }
    const link = happened.target.closest("a[href^='#']");
    if (link) {
      const id = (link.getAttribute("href") ?? "").slice(1);
      happened.preventDefault();
      history.replaceState(null, "", `#${id}`);
      open(id);
    }
  });
  addEventListener("hashchange", () => open(decodeURIComponent(location.hash.slice(1))));
  if (location.hash) open(decodeURIComponent(location.hash.slice(1)));

  // Timelines of all events are only built when they are asked for.
  document.addEventListener("toggle", (happened) => {
    const template = happened.target.querySelector?.(":scope > template");
    if (template && happened.target.open) template.replaceWith(template.content.cloneNode(true));
  }, true);

  const field = document.getElementById("filter");
  field?.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const node of document.querySelectorAll("[data-words]")) {
      node.hidden = !words.every((word) => node.dataset.words.toLowerCase().includes(word));
    }
  });

  addEventListener("beforeprint", () => {
    for (const node of document.querySelectorAll("details.scenario.red, details.event.witness, details.clauses")) node.open = true;
  });
})();
