/* What hands do at the desk: two panes, the keyboard, choosing rows. What keeps the page true is in live.js.

   A key does nothing while somebody types, with a modifier, or before a dialog. Keys act on the order that is open,
   else on the row under the cursor; none decides by itself. */
"use strict";

(() => {
  const { catchUp, fill, isTyped } = window.live;
  const byId = (id) => document.getElementById(id);
  const me = document.body.dataset.viewer?.split(" ")[0];
  const rows = () => [...document.querySelectorAll("tr.row[data-order]")];
  const numberOf = (place) => place.querySelector(".number")?.textContent ?? "";

  // What was done, or why not: shown for a while, and read out.

  let sayTimer = 0;

  function say(...parts) {
    const said = byId("said");
    clearTimeout(sayTimer);
    said.replaceChildren(...parts);
    said.classList.toggle("shown", parts.length > 0);
    // A link stays until it is followed or something else is said.
    if (!said.querySelector("a")) sayTimer = setTimeout(() => said.classList.remove("shown"), 6_000);
  }

  // Two panes: the list, and the order that is open. Where one is stands in the URL.

  const panes = byId("panes");
  const pane = byId("pane");
  const opened = byId("opened");
  const news = byId("pane-news");
  const drafts = new Map(); // orders that were left with something typed
  const listTitle = pane && !pane.hidden ? pane.dataset.title : document.title;
  let cursor = "";
  let listScroll = 0;

  const isOpen = () => Boolean(pane && !pane.hidden);
  const openOrder = () => opened?.querySelector("article.order") ?? null;
  const rowOf = (order) => byId(`queue-${order}`) ?? byId(`orders-${order}`);
  const address = (order) => {
    const url = new URL(location.href);
    url.hash = "";
    order ? url.searchParams.set("order", order) : url.searchParams.delete("order");
    return url.pathname + url.search;
  };

  function mark() {
    for (const row of document.querySelectorAll("tr.row[aria-current]")) row.removeAttribute("aria-current");
    const row = isOpen() && rowOf(cursor);
    if (!row) return;
    row.setAttribute("aria-current", "true");
    row.scrollIntoView({ block: "nearest" });
  }

  function told(text) {
    news.textContent = text;
    openOrder()?.classList.toggle("gone", Boolean(text));
  }

  // What is half typed stays with its order.
  function leave() {
    const order = openOrder();
    if (!order) return;
    const isDraft = isTyped(order) || order.querySelector("[data-invalid]");
    isDraft ? drafts.set(order.dataset.order, order) : drafts.delete(order.dataset.order);
    order.remove();
    for (const end of ["htmx:beforeSwap", "htmx:sendError", "htmx:timeout"]) order.addEventListener(end, endedLate);
  }

  // What was asked of an order that has been left since: its answer finds no place on the page.
  function endedLate({ currentTarget: order, detail, type }) {
    if (order.isConnected) return;
    const { xhr, requestConfig } = detail;
    detail.shouldSwap = false;
    const verb = requestConfig.path.split("/").at(-2);
    if (type === "htmx:beforeSwap" && xhr.status === 200) {
      drafts.delete(order.dataset.order);
      if (DONE[verb]) say(`${numberOf(order)} ${DONE[verb]}.`);
      return;
    }
    const answer = new DOMParser().parseFromString(xhr.responseText, "text/html");
    const why = answer.querySelector("[data-keep] p, p.wrong")?.textContent ?? "The desk could not answer. Look at the order before you try again.";
    const link = document.createElement("a");
    link.href = order.dataset.page;
    link.textContent = numberOf(order);
    link.addEventListener("click", (event) => {
      if (!isPlain(event)) return;
      event.preventDefault();
      say();
      show(order.dataset.order, isOpen() ? "replace" : "push");
    });
    say(link, ` was not ${NOT_DONE[verb] ?? "changed"}: ${why}`);
  }

  async function show(order, record = "push") {
    if (openOrder()?.dataset.order === order) return arrive();
    if (!isOpen()) listScroll = scrollY;
    leave();
    cursor = order;
    pane.hidden = false;
    panes.classList.add("open");
    told("");
    mark();
    if (record) history[`${record}State`]({ order }, "", address(order));
    if (drafts.has(order)) {
      opened.replaceChildren(drafts.get(order));
      catchUp();
    } else {
      opened.replaceChildren();
      await window.htmx.ajax("GET", address(order), { source: opened, target: opened, swap: "innerHTML" });
    }
    if (cursor === order) arrive();
  }

  function arrive() {
    const order = openOrder();
    if (!order) return;
    document.title = `${numberOf(order)} · ${listTitle}`;
    byId("pane-page").href = order.dataset.page ?? rowOf(cursor)?.querySelector("a.number")?.href ?? "";
    if (panes.getBoundingClientRect().top < 0) panes.scrollIntoView({ block: "start" });
    order.querySelector("h1").focus({ preventScroll: true });
  }

  function shut(record = "push") {
    leave();
    opened.replaceChildren();
    pane.hidden = true;
    panes.classList.remove("open");
    document.title = listTitle;
    if (record) history[`${record}State`]({}, "", address(""));
    mark();
    scrollTo({ top: listScroll });
    point(rowOf(cursor));
  }

  const holder = (where) => where.querySelector("[data-holder]")?.dataset.holder || undefined;

  // What waits after this one, or else before it; what colleagues have decided or hold is left out.
  function following(order) {
    const all = rows();
    const at = all.findIndex((row) => row.dataset.order === order);
    const isWaiting = (row) => row.dataset.order !== order && !row.matches(".decided") && [me, undefined].includes(holder(row));
    return all.slice(at + 1).find(isWaiting) ?? all.slice(0, Math.max(at, 0)).find(isWaiting);
  }

  function goOn(order, done = "") {
    const next = following(order);
    say([done, next ? `Next: ${numberOf(next)}.` : "Nothing else waits on this page."].join(" ").trim());
    if (next) return show(next.dataset.order, "replace");
    leave();
    cursor = "";
    told("");
    mark();
    document.title = listTitle;
    history.replaceState({}, "", address(""));
    opened.replaceChildren(byId("nothing-left").content.cloneNode(true));
    opened.querySelector("h2").focus();
  }

  if (pane) {
    if (isOpen()) {
      const named = new URL(location.href).searchParams.get("order");
      document.addEventListener("DOMContentLoaded", () => show(named, "")); // once htmx is there
    }
    window.addEventListener("popstate", (event) => {
      if (event.state?.htmx) return;
      const order = new URL(location.href).searchParams.get("order");
      if (order) show(order, "");
      else if (isOpen()) shut("");
    });
    byId("pane-back").addEventListener("click", (event) => {
      if (!isPlain(event)) return;
      event.preventDefault();
      shut();
    });
    byId("pane-next").addEventListener("click", () => goOn(cursor));
    byId("list").addEventListener("click", (event) => {
      const row = event.target.closest("tr.row");
      const isLink = event.target.closest("a.number");
      if (!row || !isPlain(event) || !(isLink || isBare(event.target))) return;
      event.preventDefault();
      show(row.dataset.order, isOpen() ? "replace" : "push");
    });
    opened.addEventListener("htmx:beforeSwap", (event) => {
      if (event.target === opened && event.detail.isError) couldNotLoad();
    });
    for (const failure of ["htmx:sendError", "htmx:timeout"]) opened.addEventListener(failure, (event) => event.target === opened && couldNotLoad());
    document.addEventListener("desk:answered", ({ target, detail }) => {
      if (!opened.contains(target) || detail.status !== 200) return;
      const done = DONE[detail.verb];
      if (!detail.closed && !done) return;
      drafts.delete(target.dataset.order);
      goOn(target.dataset.order, `${numberOf(target)} ${(detail.closed ? done : AGREED[detail.verb] ?? done) ?? "is done"}.`);
    });
    document.addEventListener("desk:no-news", ({ target }) => {
      if (!drafts.size && !isTyped(document.querySelector("main"))) location.assign(target.href);
      else say("The new orders could not be loaded. Try again in a moment.");
    });
    document.addEventListener("desk:changed", ({ target, detail }) => {
      if (opened.contains(target)) told(detail.news ? `${detail.news}.` : "");
    });
  }

  const DONE = { approve: "approved", reject: "rejected", cancel: "cancelled", retry: "is tried again", ask: "waits for the customer", snooze: "is put off" };
  const AGREED = { approve: "approved by you; a second person decides" };

  const NOT_DONE = { approve: "approved", reject: "rejected", cancel: "cancelled", retry: "tried again", snooze: "put off" };

  function couldNotLoad() {
    opened.replaceChildren(byId("not-loaded").content.cloneNode(true));
  }

  function isPlain(event) {
    return event.button === 0 && !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey);
  }

  // A part of a row that does nothing of its own, and in which nothing is being marked
  function isBare(element) {
    return !element.closest("a, button, input, label, summary, details, select, textarea") && getSelection().isCollapsed;
  }

  // The cursor: the row whose link has the focus

  function point(row) {
    if (!row) return;
    cursor = row.dataset.order;
    row.querySelector("a.number").focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("focusin", (event) => {
    const row = !isOpen() && event.target.closest?.("tr.row[data-order]");
    if (row) cursor = row.dataset.order;
  });

  function move(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.dataset.order === cursor);
    const row = all[Math.min(Math.max(at + step, 0), all.length - 1)];
    isOpen() ? show(row.dataset.order, "replace") : point(row);
  }

  function open() {
    const row = rowOf(cursor) ?? rows()[0];
    if (!row) return;
    if (pane) show(row.dataset.order);
    else location.assign(row.querySelector("a.number").href);
  }

  // Acting by key

  const place = () => openOrder() ?? document.querySelector("main > article.order") ?? rowOf(cursor);
  const formFor = (verb, where) => where?.querySelector(`form[action$="/${verb}/"]:not([data-stopped])`);

  async function act(verb) {
    let where = place();
    if (!where) return say("Choose an order first: j and k move, o opens.");
    if (verb === "reject") fill(where.querySelector("details:has(> [data-blank])"));
    let form = formFor(verb, where);
    if (where.localName === "tr" && !pane) return say("Open the order first: o or Enter.");
    if (!form && where.localName === "tr") {
      await show(where.dataset.order);
      where = place();
      form = formFor(verb, where);
    }
    if (!form || form.querySelector("button")?.disabled) return say(`${numberOf(where)}: ${whyNot(verb, where)}`);
    if (verb === "approve") return confirm(where);
    const panel = form.closest("details");
    const field = form.querySelector("[aria-invalid], textarea, select, input:not([type=hidden])");
    if (panel && !panel.open) panel.open = true; // which gets its first field the focus
    else if (field) field.focus();
    else form.requestSubmit(form.querySelector("button"));
  }

  const CANNOT = {
    approve: "it cannot be approved by you now.",
    reject: "it cannot be rejected by you now.",
    claim: "it cannot be claimed by you now.",
    extend: "its deadline cannot be extended by you.",
    note: "no note can be written on it.",
  };

  function whyNot(verb, where) {
    const said = where.querySelector(["approve", "reject"].includes(verb) ? ".decide .cannot" : `[id^="${verb}-not-"]`);
    return said?.textContent.trim() || CANNOT[verb];
  }

  const dialog = byId("confirm");
  let asked = null;

  function confirm(where) {
    asked = { order: where.dataset.order, version: where.dataset.version };
    const about = where.localName === "tr" ? [".c-customer", ".c-amount"] : [".head .quiet", ".sum-total"];
    byId("confirm-title").textContent = `Approve ${numberOf(where)}?`;
    byId("confirm-about").textContent = about.map((part) => where.querySelector(part)?.textContent.trim().replace(/\s+/g, " ")).join(" · ");
    dialog.returnValue = "";
    dialog.showModal();
  }

  dialog?.addEventListener("close", () => {
    const where = place();
    if (dialog.returnValue !== "yes" || !asked) return;
    const form = formFor("approve", where);
    if (where?.dataset.order !== asked.order || where.dataset.version !== asked.version || !form) {
      say("It has changed in the meantime, so nothing was approved. Look again.");
    } else {
      form.requestSubmit(form.querySelector("button"));
    }
    asked = null;
  });

  // Who types is still at it: a claim of one's own is renewed, once a minute at most.

  const renewedAt = new Map();

  document.addEventListener("input", ({ target }) => {
    const where = target.closest?.("[data-order]");
    const order = where?.dataset.order;
    if (!order || holder(where) !== me || Date.now() - (renewedAt.get(order) ?? 0) < 60_000) return;
    renewedAt.set(order, Date.now());
    const page = where.dataset.page ?? where.querySelector("a.number").href;
    const headers = JSON.parse(document.body.getAttribute("hx-headers"));
    fetch(`${page}renew/`, { method: "POST", headers }).catch(() => {}); // the next decision says whether it was lost
  });

  // Choosing rows, with shift a range of them

  const BOX = "input[type=checkbox][name=order]";
  let lastBox = "";

  function choose(box, isRange) {
    const boxes = [...document.querySelectorAll(BOX)];
    const from = boxes.findIndex((other) => other.value === lastBox);
    if (isRange && from >= 0) {
      const [first, last] = [from, boxes.indexOf(box)].sort((one, other) => one - other);
      for (const other of boxes.slice(first, last + 1)) other.checked = box.checked;
    }
    lastBox = box.value;
  }

  document.addEventListener("click", (event) => {
    if (event.target.matches?.(BOX)) choose(event.target, event.shiftKey);
  });

  // The keyboard

  const go = (letter) => document.querySelector(`[data-go="${letter}"]`)?.click();

  function search() {
    const field = document.querySelector("main input[type=search]");
    if (!field) return go("o");
    field.closest("details")?.setAttribute("open", "");
    field.focus();
    field.select();
  }

  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    o: open,
    a: () => act("approve"),
    r: () => act("reject"),
    c: () => act("claim"),
    e: () => act("extend"),
    n: () => act("note"),
    x: () => rowOf(cursor)?.querySelector(BOX)?.click(),
    "/": search,
    "?": () => byId("keys").showModal(),
    Escape: () => isOpen() && shut(),
    Enter: () => document.activeElement === document.body && open(),
  };
  const TYPING = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";
  let wentAt = -Infinity;

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]") || target.closest?.(TYPING)) return;
    if (event.repeat && key !== "j" && key !== "k") return;
    const isGoing = event.timeStamp - wentAt < 1_500;
    wentAt = key === "g" ? event.timeStamp : -Infinity;
    const does = isGoing ? (key === "q" || key === "o") && (() => go(key)) : Object.hasOwn(KEYS, key) && KEYS[key];
    if (!does) return;
    if (key !== "Enter" && key !== "Escape") event.preventDefault();
    does();
  });

  byId("show-keys")?.addEventListener("click", () => byId("keys").showModal());
})();
