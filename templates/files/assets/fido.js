// Asks the browser for a security key or passkey and sends what it answers, by
// the form whose data-fido says what to do: "get" one that is set up, or
// "create" a new one. The words are the page's.

import { signalUnknown } from "./signal.js";
import { ask as askBrowser } from "./webauthn.js";

const form = document.querySelector("form[data-fido]");
const button = form.querySelector("button[type=submit]");
const status = form.querySelector("[data-fido-status]");
const problem = form.querySelector("[data-fido-problem]");
const said = problem.querySelector("span");
const failed = said.textContent;
const answer = form.elements.namedItem("credential");
const words = form.dataset;

const soon = 1000; // milliseconds in which nobody can have said no
const spare = 20 * 1000; // milliseconds that an answer may take at least

const loaded = Date.now();

let asking; // what can call off the question that is open

function say(text) {
	said.textContent = text;
	problem.hidden = text === "";
}

// explain says what an error means. Browsers say no in the same way when somebody
// does and when they have waited for as long as they were told to.
function explain(error, late) {
	switch (error.name) {
	case "NotAllowedError":
		return late && words.late || words.notAllowed;
	case "InvalidStateError":
		return words.already;
	case "SecurityError":
		return words.insecure;
	case "NotSupportedError":
		return words.unable;
	}
	return failed;
}

// ask asks for a key, with or without a press of the button.
async function ask(byItself) {
	asking?.abort();
	const mine = asking = new AbortController();
	const begun = Date.now();
	const options = JSON.parse(words.options);
	if (begun - loaded > options.timeout - spare) {
		// This question can't be answered any more.
		const flow = form.elements.namedItem("flow").value;
		location.replace(`/flow?${new URLSearchParams({ id: flow, use: "fido" })}${location.hash}`);
		return;
	}
	say("");
	status.textContent = words.waiting;
	try {
		answer.value = await askBrowser(words.fido, options, { signal: mine.signal });
		form.requestSubmit();
	} catch (error) {
		if (mine.signal.aborted) {
			return;
		}
		status.textContent = "";
		// Some browsers want to see a click first. There is nothing to tell then.
		const waited = Date.now() - begun;
		if (!(byItself && error.name === "NotAllowedError" && waited < soon)) {
			say(explain(error, waited > options.timeout - soon));
		}
	}
}

form.addEventListener("submit", (event) => {
	if (answer.value === "") {
		event.preventDefault();
		event.stopPropagation(); // nothing is sent yet
		ask(false);
	}
});

// After the back button, the page asks again.
window.addEventListener("pageshow", () => {
	answer.value = "";
});

if (!window.isSecureContext) {
	say(words.insecure);
} else if (!window.PublicKeyCredential) {
	say(words.unable);
} else {
	for (const element of form.querySelectorAll("[data-fido-ready]")) {
		element.hidden = false;
	}
	if (words.fido === "get") {
		button.focus();
	}
	if (words.unknown) { // made a moment ago, and refused
		signalUnknown(JSON.parse(words.options).rp.id, words.unknown);
	}
	if ("atOnce" in words) {
		ask(true);
	}
}
