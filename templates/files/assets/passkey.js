// Offers a passkey in place of name and password: among what the browser fills
// in for the name, and by a button. The question is fetched from the form's
// address, and only if this browser knows passkeys.

import { signalUnknown } from "./signal.js";
import { ask } from "./webauthn.js";

const form = document.querySelector("form[data-passkey]");
const name = document.getElementById("name");
const shared = document.getElementById("shared");
const problem = form.querySelector("[data-fido-problem]");
const status = form.querySelector("[data-fido-status]");
const said = problem.querySelector("span");
const failed = said.textContent;
const words = form.dataset;

const lasting = 4 * 60 * 1000; // milliseconds in which a question can surely be answered
const often = 30 * 1000; // milliseconds after which its age is looked at again

let asking; // what can call off the question that is open
let pressed = false; // it is open since the button was pressed
let question;

function say(text) {
	said.textContent = text;
	problem.hidden = text === "";
}

async function fetchQuestion() {
	if (!question || Date.now() - question.at > lasting) {
		const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
		if (!answer.ok) {
			throw new Error(answer.statusText);
		}
		question = { ...(await answer.json()), at: Date.now() };
	}
	return question;
}

// get asks for a passkey and sends it.
async function get(mediation) {
	asking?.abort();
	name.removeEventListener("focus", offer);
	const { signal } = asking = new AbortController();
	const { ceremony, state } = await fetchQuestion();
	signal.throwIfAborted();
	const credential = await ask("get", JSON.parse(ceremony.Options), { mediation, signal });
	question = undefined; // it is answered once
	form.elements.namedItem("state").value = state;
	form.elements.namedItem("credential").value = credential;
	form.elements.namedItem("shared").value = shared.checked ? shared.value : "";
	form.requestSubmit();
}

async function getByButton() {
	say("");
	status.textContent = words.waiting;
	const mine = get("optional");
	const { signal } = asking;
	pressed = true;
	try {
		await mine;
	} catch (error) {
		if (signal.aborted) {
			return;
		}
		pressed = false;
		status.textContent = "";
		say(error.name === "NotAllowedError" ? words.notAllowed : failed);
		offer();
	}
}

// offer has the browser list passkeys where it fills in the name, until the
// page is left or the button pressed. If that fails, the form still works, and
// returning to the name field offers them again.
async function offer() {
	if (!await PublicKeyCredential.isConditionalMediationAvailable?.()) {
		return;
	}
	name.autocomplete = "username webauthn";
	if (!pressed) {
		get("conditional").catch((error) => {
			if (error.name !== "AbortError") {
				name.addEventListener("focus", offer, { once: true });
			}
		});
	}
}

// disown tells the browser of a passkey that was shown and isn't set up here,
// which it may then delete. Where passkeys are bound to a parent domain, it may
// belong to another site there, which this page can't tell.
async function disown(credentialId) {
	const { ceremony } = await fetchQuestion();
	const { rpId } = JSON.parse(ceremony.Options);
	if (rpId === location.hostname) {
		await signalUnknown(rpId, credentialId);
	}
}

// After a while away from the page, an old question is replaced with a new one.
function renew() {
	if (document.visibilityState === "visible" && !pressed && question && Date.now() - question.at > lasting) {
		offer();
	}
}

form.addEventListener("submit", (event) => {
	if (form.elements.namedItem("credential").value === "") {
		event.preventDefault();
		event.stopPropagation(); // nothing is sent yet
		getByButton();
	}
});

// After the back button, the page asks again.
window.addEventListener("pageshow", () => {
	pressed = false;
	form.elements.namedItem("credential").value = "";
});

if (window.isSecureContext && window.PublicKeyCredential) {
	form.hidden = false;
	if (words.unknown) {
		disown(words.unknown).catch(() => {}).finally(offer);
	} else {
		offer();
	}
	document.addEventListener("visibilitychange", renew);
	setInterval(renew, often);
} else {
	form.remove(); // with the room that was kept for it
}
