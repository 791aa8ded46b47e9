// A request to sign in: what the server wants displayed, and nothing else.

import { answer } from "./requests.js";
import { button, element } from "./element.js";
import { field, problemNote, problemOf } from "./screen_add.js";
import { say, show } from "./screen.js";
import { set, setting } from "./storage.js";
import { text } from "./texts.js";

const time = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "medium" });

// showRequest shows a request until it is answered or over.
export function showRequest(app, request, problem = "") {
	const { display } = request;
	const digits = display.digits ?? 6;
	const number = element("input", {
		id: "number", inputmode: "numeric", autocomplete: "off", class: "code", maxlength: digits + 2,
		"aria-describedby": problem ? "number-hint problem" : "number-hint", "aria-invalid": problem ? "true" : null,
	});
	const decide = (decision) => async () => {
		const typed = number.value.replace(/\D/g, "");
		if (decision === "allow" && typed.length !== digits) {
			return showRequest(app, request, text("request.digits", { Digits: digits }));
		}
		return send(app, request, decision, typed);
	};
	const allow = button(text("request.allow"), "primary", decide("allow"));
	number.addEventListener("keydown", ({ key }) => key === "Enter" && allow.click());
	const left = element("p", { class: "left" });
	show("request", text("request.title"), [
		element("h1", {}, text("request.title")),
		facts(display),
		element("p", { class: "warning" }, text("request.nobody")),
		field(number, text("request.number"), element("p", { id: "number-hint", class: "hint" }, text("request.hint")), problemNote(problem)),
		allow,
		button(text("request.deny"), "secondary", decide("deny")),
		button(text("request.report"), "danger", decide("report")),
		left,
	], {
		onSecond: () => {
			const seconds = Math.ceil(display.expires - Date.now() / 1000);
			left.textContent = seconds > 0 ? text("request.left", { Seconds: seconds }) : text("request.late");
		},
	});
	if (problem) {
		number.focus();
	}
}

// facts are what the server wants displayed, in the order in which people need it.
function facts(display) {
	const rows = [
		["account", display.account],
		["app", display.app],
		["browser", [display.browser, display.system].filter(Boolean).join(", ")],
		["address", [display.address, display.place].filter(Boolean).join(", ")],
		["time", time.format(new Date(display.at * 1000))],
	];
	return element("div", { class: "facts" },
		element("dl", {}, rows.filter(([, value]) => value).map(([name, value]) =>
			element("div", {}, element("dt", {}, text(`request.${name}`)), element("dd", {}, element("bdi", {}, value))))),
		element("p", { class: display.known ? "known" : "unknown" }, text(display.known ? "request.known" : "request.unknown")),
	);
}

async function send(app, request, decision, number) {
	let state;
	try {
		state = await answer(request, decision, number);
	} catch (failure) {
		return showRequest(app, request, problemOf(failure));
	}
	if (state === "open") {
		return showRequest(app, request, text("request.wrong"));
	}
	showState(app, request, state);
}

// remember keeps what is needed to report a request that was allowed: see recent.
function remember({ account, display, hash }, state) {
	const kept = { thumbprint: account.thumbprint, id: display.id, hash, app: display.app, at: Date.now() };
	return set("allowed", state === "allowed" ? kept : null);
}

const reportable = 10 * 60 * 1000; // milliseconds after an answer

// recent returns the request that was allowed last, as long as it can be reported; null:
// there is none.
export async function recent(all) {
	const kept = await setting("allowed");
	const account = all.find(({ thumbprint, state }) => thumbprint === kept?.thumbprint && state === "active");
	if (!account || Date.now() - kept.at > reportable) {
		return null;
	}
	return { account, hash: kept.hash, display: { id: kept.id, app: kept.app, at: kept.at } };
}

const states = ["allowed", "spent", "denied", "reported", "expired", "cancelled"];

// reportButton takes back what was allowed, or reports what wasn't.
export function reportButton(app, request) {
	return button(text("request.report"), "danger", async () => {
		try {
			showState(app, request, await answer(request, "report"));
		} catch (failure) {
			say(problemOf(failure));
		}
	});
}

// showState says what came of a request.
function showState(app, request, state) {
	app.busy = true;
	const named = state === "spent" ? "allowed" : states.includes(state) ? state : "expired";
	remember(request, named);
	show(`state-${named}`, text(`state.${named}`), [
		element("h1", {}, text(`state.${named}`)),
		element("p", {}, text(`state.${named}_text`)),
		button(text("common.done"), "primary", app.home),
		named === "reported" ? null : reportButton(app, request),
	]);
}
