// Runs in pages of apps. Once the session of the page has ended, it says so and
// offers to sign in beside it, so that nothing on the page is lost. It asks the
// server now and then, when the page is looked at again, and after a request of
// the page has failed. When somebody has signed in again, the window gets the
// event mfa-signed-in.

(() => {
	if (window.top !== window) {
		return;
	}
	const required = document.currentScript.dataset.ask;
	const fetch = window.fetch.bind(window);
	const seldom = 60_000; // milliseconds between two questions while all is well
	const apart = 5_000; // at least, whatever happens
	const style = `
		:host {
			all: initial !important;
			display: block !important;
			position: fixed !important;
			inset: auto 16px 16px auto !important;
			width: min(360px, calc(100vw - 32px)) !important;
			z-index: 2147483647 !important;
		}
		@media print { :host { display: none !important; } }
		.notice {
			--surface: #ffffff; --ink: #1a202c; --edge: #78818f; --accent: #1c5dbf; --on-accent: #ffffff;
			box-sizing: border-box;
			padding: 16px;
			border: 1px solid var(--edge);
			border-radius: 8px;
			background: var(--surface);
			color: var(--ink);
			color-scheme: light;
			box-shadow: 0 4px 16px rgb(0 0 0 / 25%);
			font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
			overflow-wrap: break-word;
		}
		@media (prefers-color-scheme: dark) {
			.notice { --surface: #1a1f28; --ink: #e9ecf1; --edge: #7d8797; --accent: #8ab6ff; --on-accent: #0b1a33; color-scheme: dark; }
		}
		p { margin: 0 0 8px; }
		.title { font-weight: 600; }
		.actions { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 12px; }
		a, button {
			box-sizing: border-box;
			min-height: 44px;
			padding: 9px 12px;
			border: 1px solid var(--accent);
			border-radius: 8px;
			background: var(--surface);
			color: var(--accent);
			font: inherit;
			text-decoration: none;
			cursor: pointer;
		}
		.primary { background: var(--accent); color: var(--on-accent); font-weight: 600; }
		:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
	`;

	let person = ""; // stands for whom the page was loaded for
	let shown; // the notice: its element and the state that it tells of
	let dismissed = ""; // the state of which nobody wants to hear any more
	let failed = false; // a request of the page has, since the last answer
	let next; // timer
	let asked = -Infinity;

	function check() {
		next ??= setTimeout(ask, Math.max(0, asked + apart - performance.now()));
	}

	function suspect() {
		failed = true;
		check();
	}

	async function ask() {
		next = undefined;
		if (document.hidden) {
			return; // it asks when it is looked at
		}
		asked = performance.now();
		const after = failed;
		failed = false;
		try {
			const answer = await fetch(`/.mfa/session-notice?${required}&person=${person}`, { cache: "no-store", redirect: "error" });
			if (answer.ok) {
				tell(await answer.json(), after);
			}
		} catch {
			// There is no line, or a policy of the page forbids it: nothing is known.
		}
	}

	function tell(now, afterFailure) {
		if (now.state === "signed_in") {
			person ||= now.person;
			dismissed = "";
			if (shown) {
				hide();
				window.dispatchEvent(new Event("mfa-signed-in"));
			}
			return;
		}
		// Reading needs no fresh check.
		const unasked = now.state === "step_up" && !afterFailure && shown?.state !== now.state;
		if (!unasked && now.state !== dismissed && !(shown?.state === now.state && shown.element.isConnected)) {
			hide();
			show(now);
		}
	}

	function hide() {
		shown?.element.remove();
		shown = undefined;
	}

	function show(now) {
		const element = document.createElement("mfa-session-notice");
		const shadow = element.attachShadow({ mode: "open" });
		const sheet = new CSSStyleSheet(); // which no policy of the page is about
		sheet.replaceSync(style);
		shadow.adoptedStyleSheets = [sheet];

		const notice = make(shadow, "section", "notice");
		notice.lang = now.language;
		notice.setAttribute("aria-label", now.title);
		const said = make(notice, "div");
		said.setAttribute("role", "status");
		const actions = make(notice, "div", "actions");
		if (now.sign_in_url) {
			const link = make(actions, "a", "primary", now.action);
			link.href = now.sign_in_url;
			link.target = "_blank";
			link.rel = "opener"; // without one, browsers let no tab close itself
		}
		make(actions, "button", now.sign_in_url ? "" : "primary", now.reload).addEventListener("click", () => location.reload());
		make(actions, "button", "", now.dismiss).addEventListener("click", () => {
			dismissed = now.state;
			hide();
		});

		// Everything beside an open dialog is out of reach.
		(document.querySelector("dialog:modal") ?? document.documentElement).append(element);
		element.popover = "manual"; // above what the app shows on top
		element.showPopover?.();
		// Screen readers don't announce text that is there from the start.
		setTimeout(() => {
			make(said, "p", "title", now.title);
			make(said, "p", "", now.text);
		}, 100);
		shown = { element, state: now.state };
	}

	function make(parent, tag, name = "", text = "") {
		const made = document.createElement(tag);
		made.className = name;
		made.textContent = text;
		parent.append(made);
		return made;
	}

	// A connection of this kind that ends may have been ended for want of a session.
	function watch(kind, event) {
		window[kind] = new Proxy(window[kind], {
			construct(target, given, called) {
				const connection = Reflect.construct(target, given, called);
				connection.addEventListener(event, suspect);
				return connection;
			},
		});
	}

	// Of a fetch whose answer nobody reads the browser tells nothing else.
	window.fetch = new Proxy(window.fetch, {
		apply(target, self, given) {
			const response = Reflect.apply(target, self, given);
			response.then(answer => answer.status === 401 && suspect(), () => {});
			return response;
		},
	});
	watch("WebSocket", "close");
	watch("EventSource", "error");
	new PerformanceObserver(list => {
		if (list.getEntries().some(entry => entry.responseStatus === 401)) {
			suspect();
		}
	}).observe({ type: "resource" });
	new BroadcastChannel("mfa-signed-in").addEventListener("message", () => {
		asked = -Infinity;
		clearTimeout(next);
		next = undefined;
		check();
	});
	document.addEventListener("visibilitychange", check);
	window.addEventListener("pageshow", event => event.persisted && check());
	window.addEventListener("focus", check);
	setInterval(check, seldom);
	check();
})();
