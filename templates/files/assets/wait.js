// Listens for whether another device has answered the page's question, and asks every
// two seconds where it hears nothing. Once the question is answered, this presses the button
// that collects the answer. Once it is over, it reloads the page. Without this script,
// people press the button.

const pause = 2000; // milliseconds between two questions to the server
const longestPause = 30000; // after several that failed
const quiet = 12000; // without a word from the stream, which says something every five seconds
const mostRefusals = 3; // of streams, until the page does without

const waiting = document.querySelector("[data-wait]");
const button = waiting.querySelector("button");
const status = waiting.querySelector("[data-wait-status]");

let timer;
let asking = false;
let failures = 0;
let over = false; // the person or this script has sent the form
let stream = null;
let refusals = 0; // of streams in a row

async function ask() {
	const response = await fetch(waiting.dataset.wait, {
		headers: { Accept: "application/json" },
		cache: "no-store",
	});
	if (!response.ok) {
		throw new Error(`waiting: status ${response.status}`);
	}
	return (await response.json()).progress;
}

function act(progress) {
	if (over || progress === "waiting") {
		return;
	}
	over = true;
	stream?.close();
	if (progress === "settled") {
		button.form.requestSubmit(button);
	} else {
		location.replace(waiting.dataset.page);
	}
}

// listen begins a stream, unless there is one or it can't be had. A browser opens a
// stream again by itself that was cut off. One that was refused is closed.
function listen() {
	if (over || refusals >= mostRefusals || (stream && stream.readyState !== EventSource.CLOSED)) {
		return;
	}
	stream = new EventSource(waiting.dataset.wait);
	stream.addEventListener("message", ({ data }) => {
		refusals = 0;
		succeed();
		pollAfter(quiet);
		act(data);
	});
	stream.addEventListener("error", () => {
		refusals += stream.readyState === EventSource.CLOSED ? 1 : 0;
		pollAfter(pause);
	});
}

function pollAfter(time) {
	clearTimeout(timer);
	timer = setTimeout(poll, time);
}

function succeed() {
	failures = 0;
	button.hidden = true;
}

async function poll() {
	clearTimeout(timer);
	if (asking || over) {
		return;
	}
	asking = true;
	try {
		act(await ask());
		succeed();
		listen();
	} catch {
		failures++; // offline, or the server restarts: the page stays as it is
		button.hidden = failures < 3;
	} finally {
		asking = false;
	}
	pollAfter(Math.min(pause * 2 ** failures, longestPause));
}

button.form.addEventListener("submit", () => {
	over = true;
});

// Timers rest in hidden tabs, and a page that comes back by the back button has
// been asleep.
document.addEventListener("visibilitychange", () => {
	if (!document.hidden) {
		poll();
	}
});
window.addEventListener("online", poll);
window.addEventListener("pageshow", (event) => {
	if (event.persisted) {
		over = false;
		poll();
	}
});

button.hidden = true;
status.hidden = false;
listen();
pollAfter(pause); // in case that nothing is heard
