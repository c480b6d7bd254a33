/* Keeps the page true by itself. One stream serves all tabs of a browser; what may have been missed is asked for.

   A fragment has a root with an id and a data-version, and parts with data-part. An older version never replaces
   a newer one, and a part in which somebody works is never replaced: its forms tell what happened instead. */
"use strict";

(() => {
  const body = document.body;
  const SILENT_MS = 40_000; // the server pings every 15 s
  const GRACE_MS = 1_500; // a stream that is back by then was never away
  const POLL_LIVE_MS = 60_000;
  const POLL_AWAY_MS = 10_000;
  const POLL_AT_IT_MS = 3_000; // tries at a step begin and fail without a word on the stream

  // Time. The server's clock counts: its first word is on the page.

  const drift = Number(document.getElementById("engine")?.dataset.version ?? Date.now()) - Date.now();
  const now = () => Date.now() + (Math.abs(drift) > 3_000 ? drift : 0);
  const pad = (number) => String(number).padStart(2, "0");

  function span(seconds) {
    const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24, Math.floor(seconds / 60) % 60];
    if (days) return `${days} d ${hours} h`;
    if (hours) return `${hours} h ${pad(minutes)} min`;
    return minutes ? `${minutes} min` : `${seconds} s`;
  }

  function ago(seconds) {
    if (seconds < 5) return "just now";
    const [unit, size] = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]].find(([, size]) => seconds >= size);
    return `${Math.floor(seconds / size)} ${unit} ago`;
  }

  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tick() {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      write(time, ago(Math.floor((now() - Date.parse(time.dateTime)) / 1_000)));
    }
    for (const time of document.querySelectorAll("time[data-due]")) {
      const left = Math.floor((Date.parse(time.dateTime) - now()) / 1_000);
      const urgency = left <= 0 ? "overdue" : left < 3_600 ? "soon" : "calm";
      if (!time.classList.contains(urgency)) time.className = `due ${urgency}`;
      warn(time.closest("[data-order]"), left);
      write(time, left <= 0 ? `${span(-left)} overdue` : left < 3_600 ? `${Math.floor(left / 60)}:${pad(left % 60)} min` : span(left));
    }
    for (const time of document.querySelectorAll("time[data-next]")) {
      const left = Math.ceil((Date.parse(time.dateTime) - now()) / 1_000);
      write(time, left <= 0 ? "now" : `in ${span(left)}`);
    }
  }

  // The zone of the computer is offered once, until there is a choice.

  const offer = document.getElementById("zone");
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone?.replace("Etc/", "");
  if (offer && here && here !== body.dataset.zone) {
    const use = offer.querySelector("button");
    offer.querySelector("strong").textContent = use.value = here;
    use.textContent = `Use ${here}`;
    offer.hidden = false;
  }

  // That little time is left is said aloud once, when it comes to that while somebody looks.

  const WARN_SECONDS = 300;
  const lastLeft = new Map();

  function warn(root, left) {
    if (!root) return;
    const before = lastLeft.get(root.dataset.order);
    lastLeft.set(root.dataset.order, left);
    if (left > WARN_SECONDS || left <= 0 || !(before > WARN_SECONDS)) return;
    write(document.getElementById("alarm"), `${root.querySelector(".number").textContent} has ${Math.ceil(left / 60)} minutes left.`);
  }

  // Fragments

  const heard = document.getElementById("heard"); // for those who do not see it
  const held = new Map(); // parts in use, and what they become when they are left
  const late = new Map(); // fragments for roots whose own request is under way

  const parse = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html.trim();
    return template.content.firstElementChild;
  };
  const version = (root) => Number(root.dataset.version);
  const isChosen = (select) => select.selectedIndex !== Math.max([...select.options].findIndex((option) => option.defaultSelected), 0);
  const isAltered = (field) => ["checkbox", "radio"].includes(field.type) ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
  const isTyped = (part) =>
    [...part.querySelectorAll("textarea, input:not([name=order])")].some(isAltered) ||
    [...part.querySelectorAll("select")].some(isChosen);
  const SAME = ["id", "href", "aria-label", "name"];
  const twin = (element, part) =>
    [...part.querySelectorAll(element.localName)].find((other) =>
      SAME.every((name) => other.getAttribute(name) === element.getAttribute(name)));

  // Whether putting `next` in the place of `part` would lose what somebody does there. A heading or a link loses nothing.
  function isBusy(part, next) {
    if (isTyped(part) || part.querySelector("details[open], [data-keep]")) return true;
    const focused = document.activeElement;
    return part.contains(focused) && focused.matches("input, textarea, select, button, summary") && !twin(focused, next);
  }

  function apply(html) {
    const fresh = parse(html);
    const root = document.getElementById(fresh.id);
    if (!root || version(fresh) <= version(root)) return;
    if (root.querySelector(".htmx-request")) late.set(root.id, html);
    else {
      if (fresh.dataset.news && fresh.dataset.news !== root.dataset.news && root.localName === "tr") {
        write(heard, `${root.querySelector(".number").textContent}: ${fresh.dataset.news}.`);
      }
      patch(root, fresh);
      tellOthers(root, "changed", { news: fresh.dataset.news });
    }
  }

  function tellOthers(root, what, detail) {
    root.dispatchEvent(new CustomEvent(`desk:${what}`, { bubbles: true, detail }));
  }

  function patch(root, fresh, asking = null) {
    const parts = [...fresh.querySelectorAll("[data-part]")];
    if (!parts.length) {
      root.replaceWith(fresh);
      return;
    }
    for (const part of parts) {
      const old = root.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!old || old.isEqualNode(part)) continue;
      if (!old.contains(asking) && isBusy(old, part)) hold(old, part, fresh.dataset.news);
      else put(old, part);
    }
    if (version(fresh) > version(root) && root.localName === "tr") flash(root);
    root.classList.toggle("decided", fresh.classList.contains("decided"));
    for (const name of Object.keys(root.dataset)) if (!(name in fresh.dataset)) delete root.dataset[name];
    Object.assign(root.dataset, fresh.dataset);
    tick();
  }

  function put(old, part) {
    held.delete(old);
    if ("grow" in part.dataset) {
      let next = null;
      for (const item of [...part.children].reverse()) {
        const known = document.getElementById(item.id);
        if (!known && old.dataset.show && !item.matches(`.quiet, .about-${old.dataset.show}`)) continue; // it is narrowed
        if (!known) {
          item.classList.add("arrived");
          old.insertBefore(item, next);
        }
        next = known ?? item;
      }
      return;
    }
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    old.replaceWith(part);
    window.htmx?.process(part);
    const next = part.querySelector("[autofocus]") ?? (focused && twin(focused, part));
    next?.focus({ preventScroll: next.localName !== "textarea" });
  }

  function hold(old, part, news) {
    held.set(old, part);
    const forms = old.querySelectorAll("form:has(button)");
    for (const form of forms) {
      const isPossible = !news || part.querySelector(`form[action="${form.getAttribute("action")}"]`);
      form.toggleAttribute("data-stopped", !isPossible);
      for (const button of form.querySelectorAll("button")) {
        isPossible ? button.removeAttribute("aria-disabled") : button.setAttribute("aria-disabled", "true");
      }
    }
    if (!news) old.querySelector(".news")?.remove(); // it came back to where this is possible
    if (!news || !forms.length) return;
    if (old.querySelector(".news, [data-keep]")) return;
    const said = document.createElement("p");
    said.className = "news";
    said.setAttribute("role", "status");
    said.textContent = news + (isTyped(old) ? ". Your text is kept here." : ".");
    (old.querySelector("details[open] form") ?? old.querySelector(".decide") ?? old).prepend(said);
  }

  function release() {
    for (const [old, part] of held) {
      if (old.isConnected && !isBusy(old, part)) put(old, part); // what is not there may come back: see the drafts of desk.js
    }
  }

  function flash(element) {
    element.classList.remove("changed");
    void element.offsetWidth; // starts the animation again
    element.classList.add("changed");
  }

  document.addEventListener("focusout", () => setTimeout(release));
  document.addEventListener("input", release);
  document.addEventListener("submit", (event) => {
    if (!("stopped" in event.target.dataset)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);

  // New orders wait behind a button: the list does not move by itself.

  const newButton = document.getElementById("new");
  let fresh = new Set();

  function showNew() {
    if (!newButton) return;
    const told = `${fresh.size > 99 ? "99+" : fresh.size} new`;
    if (fresh.size && (newButton.hidden || newButton.textContent !== told)) write(heard, told);
    newButton.hidden = fresh.size === 0;
    write(newButton, told);
  }

  // They are put between those that are there, which stay as they are: chosen, open, half typed, decided by others.
  async function putNewIn() {
    const url = new URL(location.href);
    url.searchParams.delete("order");
    const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [list, next] = [document, page].map((each) => each.getElementById("list"));
    if (!answer.ok || !next) throw new Error("This is not the queue.");
    const [known, all] = [list, next].map((each) => each.querySelector("tbody"));
    const arrived = known && all ? merge(known, all) : [];
    if (known && all) dropWhatFellOff(known, all, list, next);
    else list.replaceChildren(...next.childNodes);
    window.htmx?.process(list);
    Object.assign(newButton.dataset, page.getElementById("new").dataset);
    fresh.clear();
    if (document.activeElement === newButton) (arrived[0] ?? list).querySelector("a.number")?.focus();
    showNew();
  }

  function merge(known, all) {
    const arrived = [];
    let next = null;
    for (const row of [...all.children].reverse()) {
      const here = document.getElementById(row.id);
      if (!here) {
        flash(row);
        known.insertBefore(row, next);
        arrived.unshift(row);
      }
      next = here ?? row;
    }
    return arrived;
  }

  // What is on the next page now goes there, unless somebody has it in hand.
  function dropWhatFellOff(known, all, list, next) {
    const stays = new Set([...all.children].map((row) => row.id));
    const isInUse = (row) => isTyped(row) || row.matches(".decided, [aria-current], :focus-within, :has(:checked, details[open])");
    let row = next.querySelector("[rel=next]") && known.lastElementChild;
    while (row && !stays.has(row.id)) {
      const before = row.previousElementSibling;
      if (!isInUse(row)) row.remove();
      row = before;
    }
    list.querySelector("nav.pages").replaceWith(next.querySelector("nav.pages"));
  }

  newButton?.addEventListener("mousedown", (event) => event.preventDefault()); // who types goes on typing
  newButton?.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    putNewIn().catch(() => tellOthers(newButton, "no-news"));
  });

  // Catching up

  const MOST_ASKED_OF = 60; // a URL holds 4 kB; what is decided comes last
  let asking = false;
  let askAgain = false;
  const heardSince = new Map(); // orders told of while an answer is under way, which may not know of them
  let askedAt = Date.now();

  async function catchUp() {
    if (asking) {
      askAgain = true;
      return;
    }
    asking = true;
    askedAt = Date.now();
    heardSince.clear();
    const url = new URL(body.dataset.catchUp, location.href);
    const isDecided = (root) => root.classList.contains("decided");
    for (const [name, roots] of [["shown", "[data-order][data-version]:not(#opened *)"], ["open", "#opened > [data-order]"]]) {
      const found = [...document.querySelectorAll(roots)].sort((one, other) => isDecided(one) - isDecided(other));
      const listed = found.slice(0, MOST_ASKED_OF).map((root) => `${root.dataset.order}.${version(root)}`);
      if (listed.length) url.searchParams.set(name, listed.join("_"));
    }
    const narrowed = document.querySelector(".timeline[data-show]");
    if (narrowed) url.searchParams.set("show", narrowed.dataset.show);
    if (newButton) {
      url.searchParams.set("since", newButton.dataset.since);
      url.searchParams.set("back", newButton.dataset.back);
      url.searchParams.set("new", [...fresh].slice(-20).map((order) => `${order}.0`).join("_"));
    }
    try {
      const answer = await fetch(url, { headers: { "HX-Request": "true" }, cache: "no-store", signal: AbortSignal.timeout(10_000) });
      if (answer.status === 401) showSignedOut();
      if (answer.ok) {
        const told = await answer.json();
        told.fragments.forEach(apply);
        if (told.new) fresh = new Set(told.new);
        heardSince.forEach(count);
        if (!askAgain) showNew();
      }
      lookAgain();
    } catch {
      // Unreachable: the sign says so, and the next poll asks again.
    }
    asking = false;
    if (askAgain) {
      askAgain = false;
      catchUp();
    }
  }

  // The sign

  const sign = document.getElementById("live-sign");
  let isLive = false;
  let heardAt = Date.now();
  let awayTimer = 0;

  function showLive() {
    clearTimeout(awayTimer);
    awayTimer = 0;
    isLive = true;
    sign.classList.remove("away");
    write(sign, "Live");
  }

  function showAway() {
    isLive = false;
    if (awayTimer) return;
    const since = new Date();
    awayTimer = setTimeout(() => {
      sign.classList.add("away");
      write(sign, `Not live since ${since.toLocaleTimeString("en-GB", { timeZone: body.dataset.zone })}, trying again`);
    }, GRACE_MS);
  }

  function showSignedOut() {
    clearTimeout(awayTimer);
    awayTimer = -1;
    isLive = false;
    sign.classList.add("away");
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = "Sign in again";
    sign.replaceChildren("You are signed out. ", link);
  }

  // The stream: held by one tab, heard by all that are shown the same

  const name = `countersign-live-${body.dataset.viewer}`;
  const channel = "BroadcastChannel" in window ? new BroadcastChannel(name) : null;
  let source = null;
  let retryMs = 1_000;

  function hear({ type, data }) {
    heardAt = Date.now();
    if (type === "hello") {
      if (source) channel.postMessage({ type: isLive ? "live" : "away" });
    } else if (type === "away") {
      showAway();
    } else if (type === "doubt") {
      if (source) open();
    } else if (type === "catch-up" || (type === "live" && !isLive)) {
      showLive();
      setTimeout(catchUp, document.hidden ? Math.random() * 500 : 0);
    } else if (type === "change") {
      hearChange(JSON.parse(data));
      countViews();
      lookAgain();
    } else if (type === "bulk") {
      if (document.querySelector(`[data-bulk="${JSON.parse(data).bulk}"]`)) catchUp();
      lookAgain();
    } else if (type === "desk") {
      JSON.parse(data).fragments.forEach(apply);
      countViews();
    }
  }

  // What is somebody's own, and what is made of many orders, is asked for: at most every five seconds, and not by a
  // page that nobody sees.
  function seldom(selector, ask) {
    let timer = 0;
    let isDue = false;
    const run = async () => {
      isDue = false;
      try {
        const answer = await fetch(ask.url(), { headers: { "HX-Request": "true" }, cache: "no-store", signal: AbortSignal.timeout(10_000) });
        if (answer.ok) ask.show(await answer.text());
      } catch {
        // The next change asks again.
      }
      timer = setTimeout(() => {
        timer = 0;
        if (isDue) wish();
      }, 5_000);
    };
    const wish = () => {
      if (!document.querySelector(selector)) return;
      isDue = true;
      if (!timer && !document.hidden) timer = setTimeout(run, 500 * Math.random());
    };
    document.addEventListener("visibilitychange", () => isDue && wish());
    return wish;
  }

  const countViews = seldom("[data-counts]", {
    url: () => document.querySelector("[data-counts]").dataset.counts,
    show: (told) => JSON.parse(told).fragments.forEach(apply),
  });
  const lookAgain = seldom("[data-look-again]", {
    url: () => document.querySelector("[data-look-again]").dataset.lookAgain,
    show: (told) => {
      const root = document.querySelector("[data-look-again]");
      const fresh = new DOMParser().parseFromString(told, "text/html").getElementById(root.id);
      if (!fresh || version(fresh) <= version(root)) return;
      const parts = (of) => [...of.querySelectorAll("[data-part]")].map((part) => part.dataset.part).join();
      parts(fresh) === parts(root) ? patch(root, fresh) : root.replaceWith(fresh);
      tick();
    },
  });

  function hearChange(change) {
    change.fragments.forEach(apply);
    const order = document.getElementById(`order-${change.order}`);
    const isMentioned = change.mentions.includes(parseInt(body.dataset.viewer)); // which begins with the person's key
    if (isMentioned || (order && version(order) < change.version)) catchUp();
    count(change);
    heardSince.set(change.order, change);
    if (newButton && "narrowed" in newButton.dataset && fresh.has(change.order)) catchUp(); // the server knows whether it fits
    else showNew();
  }

  // What waited when the page was made, further down, is not new.
  function count({ order, open, review, back }) {
    if (!newButton || !open || document.getElementById(`queue-${order}`)) fresh.delete(order);
    else if (review > newButton.dataset.since || back > newButton.dataset.back || "narrowed" in newButton.dataset) fresh.add(order);
  }

  function tell(message) {
    hear(message);
    channel?.postMessage(message);
  }

  function open() {
    close();
    heardAt = Date.now();
    source = new EventSource(body.dataset.live);
    for (const type of ["catch-up", "away", "change", "bulk", "desk", "ping"]) {
      source.addEventListener(type, (event) => {
        retryMs = 1_000;
        tell({ type, data: event.data });
      });
    }
    source.addEventListener("error", () => {
      tell({ type: "away" });
      if (source?.readyState !== EventSource.CLOSED) return; // it tries again by itself
      // Refused: of the answer's Retry-After it tells nothing, so we wait ever longer.
      setTimeout(() => source && open(), retryMs * (0.75 + Math.random() / 2));
      retryMs = Math.min(retryMs * 2, 15_000);
    });
  }

  // A request failed: the stream may be as dead and not know it yet. Open again, it says.
  function doubt() {
    showAway();
    if (source) open();
    else channel?.postMessage({ type: "doubt" });
  }

  function close() {
    source?.close();
    source = null;
  }

  showAway();
  if (channel) channel.addEventListener("message", (event) => hear(event.data));
  if (channel && navigator.locks) {
    navigator.locks.request(name, () => new Promise(open));
    channel.postMessage({ type: "hello" });
  } else if (!document.hidden) {
    open();
  }

  document.addEventListener("visibilitychange", () => {
    if (!navigator.locks) document.hidden ? close() : open();
    else if (!document.hidden && (!isLive || Date.now() - heardAt > 20_000)) catchUp();
  });
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());

  setInterval(() => {
    tick();
    if (Date.now() - heardAt > SILENT_MS) {
      if (isLive) showAway();
      if (source) open();
    }
    const patience = document.querySelector("[data-again]") ? POLL_AT_IT_MS : isLive ? POLL_LIVE_MS : POLL_AWAY_MS;
    if (!document.hidden && Date.now() - askedAt > patience) catchUp();
  }, 1_000);

  // Decisions: htmx sends them, and their answers are fragments like all others.

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr, requestConfig } = event.detail;
    if (!("order" in target.dataset)) return;
    event.detail.shouldSwap = false;
    const root = document.getElementById(target.id);
    const answer = parse(xhr.responseText);
    if (root && answer?.id === root.id) {
      patch(root, answer, requestConfig.elt);
      const verb = requestConfig.path.split("/").at(-2);
      tellOthers(root, "answered", { verb, status: xhr.status, closed: "news" in answer.dataset });
      if (root.isConnected && !root.contains(document.activeElement)) root.querySelector("a.number, h1")?.focus({ preventScroll: true });
    } else if (xhr.status === 403) {
      renewToken().then((isAnother) => complain(requestConfig.elt, isAnother ? "renewed" : 403));
    } else {
      complain(requestConfig.elt, xhr.status);
    }
  });

  // The token that a form proves with that it is ours goes as a header: one place to renew it.
  document.addEventListener("htmx:configRequest", (event) => delete event.detail.parameters.csrfmiddlewaretoken);

  /** Ask for the token anew: who has signed in since the page was loaded has another. Says whether it is another.
      What one person sees is not sent in another's name. */
  async function renewToken() {
    const answer = await fetch(location.href).catch(() => null);
    const page = new DOMParser().parseFromString((await answer?.text()) ?? "", "text/html");
    if (page.body.dataset.viewer !== body.dataset.viewer) return false;
    const before = body.getAttribute("hx-headers");
    body.setAttribute("hx-headers", page.body.getAttribute("hx-headers"));
    return body.getAttribute("hx-headers") !== before;
  }

  document.addEventListener("htmx:afterRequest", (event) => {
    const html = late.get(event.detail.target?.id);
    late.delete(event.detail.target?.id);
    setTimeout(() => html && apply(html));
  });
  for (const failure of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(failure, (event) => {
      doubt();
      complain(event.detail.elt, 0);
    });
  }

  function complain(form, status) {
    if (!form?.isConnected || form.localName !== "form") return;
    const words = {
      0: "The desk cannot be reached; perhaps this was carried out. Try again once it is back.",
      401: "You are signed out. Sign in from another tab, then try again.",
      403: "This page is out of date. Copy what you typed, then reload it.",
      renewed: "You have signed in since. Try again.",
      404: "This order is not here any more.",
      503: "The database is away, or can hold no more. Look at the order, then try again.",
    };
    // A row's buttons have no room for a sentence; the reasons beside them make way for it.
    const place = (!form.matches(".panel") && form.closest(".row")?.querySelector(".c-why")) || form;
    place.querySelector(".wrong")?.remove();
    const said = document.createElement("p");
    said.className = "wrong";
    said.setAttribute("role", "alert");
    said.textContent = words[status] ?? "The desk could not answer. Look at the order before you try again.";
    place.append(said);
  }

  // To print

  for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }

  // Panels

  // The panel of a row is made as it is opened: all are alike but for their order.
  function fill(ask) {
    const blank = ask?.querySelector(":scope > [data-blank]");
    const pattern = document.getElementById("reject-pattern");
    if (!blank || !pattern) return;
    const row = ask.closest("[data-order]");
    const html = pattern.innerHTML.replaceAll(pattern.dataset.order, row.dataset.order);
    const form = parse(html.replaceAll(pattern.dataset.number, row.querySelector(".number").textContent));
    form.elements.version.value = row.dataset.version;
    blank.replaceWith(form);
    window.htmx?.process(form);
    const part = ask.closest("[data-part]");
    if (held.has(part)) hold(part, held.get(part), row.dataset.news);
  }

  document.addEventListener("toggle", (event) => {
    if (!event.target.matches?.("details.ask[open]")) return;
    fill(event.target);
    const first = event.target.querySelector("[aria-invalid]") ?? event.target.querySelector("textarea, select, input:not([type=hidden])");
    first?.focus({ preventScroll: true });
    event.target.querySelector(".panel")?.scrollIntoView({ block: "nearest" });
  }, true);
  const wanted = document.getElementById(location.hash.slice(1))?.closest("details.ask"); // the queue leads to some
  if (wanted) wanted.open = true;
  document.addEventListener("keydown", (event) => {
    const panel = event.key === "Escape" && event.target.closest("details.ask[open]");
    if (!panel) return;
    event.preventDefault();
    panel.open = false;
    panel.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => {
    for (const panel of document.querySelectorAll("details.ask[open]")) {
      if (!panel.contains(event.target) && !isTyped(panel) && !panel.querySelector("[readonly]")) panel.open = false;
    }
    release();
  });

  window.live = { catchUp, fill, isTyped };
})();
