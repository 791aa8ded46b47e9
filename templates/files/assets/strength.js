// Tells how strong a password is while it is typed: asks the server at the
// path that the input's data-strength names, sending what the form holds, and
// shows the answer {score, text, ok, reason} below the input.

const pause = 300; // milliseconds without a key before it asks

const input = document.querySelector("input[data-strength]");
const area = document.getElementById("strength");
const meter = area.querySelector("meter");
const status = area.querySelector("[role=status]");

const refused = document.getElementById(`${input.id}-error`); // what was sent before

let timer;
let asking = new AbortController();

function show(score, text) {
	meter.value = score;
	// Setting the same text again would make it be read out again.
	if (status.textContent !== text) {
		status.textContent = text;
	}
}

// Everything in the form except the current password, which isn't judged.
function asked() {
	const data = new FormData(input.form);
	for (const other of input.form.querySelectorAll("input[autocomplete=current-password]")) {
		data.delete(other.name);
	}
	return new URLSearchParams(data);
}

async function ask(signal) {
	const response = await fetch(input.dataset.strength, {
		method: "POST",
		body: asked(),
		headers: { Accept: "application/json" },
		signal,
	});
	if (!response.ok) {
		throw new Error(`the strength of the password: status ${response.status}`);
	}
	return response.json();
}

async function update(signal) {
	try {
		const answer = await ask(signal);
		if (!signal.aborted) {
			show(answer.score, (!answer.ok && answer.reason) || answer.text);
		}
	} catch {
		// Without an answer the meter says nothing; the form works all the same.
		if (!signal.aborted) {
			show(0, "");
		}
	}
}

// An error about the password that was sent doesn't apply to another one.
function forgetRefusal() {
	if (refused && !refused.hidden && input.value !== "") {
		refused.hidden = true;
		input.removeAttribute("aria-invalid");
	}
}

function changed() {
	forgetRefusal();
	clearTimeout(timer);
	asking.abort();
	asking = new AbortController();
	if (input.value === "") {
		show(0, "");
		return;
	}
	timer = setTimeout(update, pause, asking.signal);
}

// A password is judged against the names beside it, so those count as well.
input.form.addEventListener("input", changed);
input.form.addEventListener("submit", () => {
	clearTimeout(timer);
	asking.abort();
});
area.hidden = false;
