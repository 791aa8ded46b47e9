// Asks every two seconds whether another device has answered the page's question.
// Once it has, this presses the button that collects the answer. Once the question
// is over, it reloads the page. Without this script, people press the button.

const pause = 2000; // milliseconds between two questions to the server
const longestPause = 30000; // after several that failed

const waiting = document.querySelector("[data-wait]");
const button = waiting.querySelector("button");
const status = waiting.querySelector("[data-wait-status]");

let timer;
let asking = false;
let failures = 0;
let over = false; // the person or this script has sent the form

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
	if (progress === "settled") {
		button.form.requestSubmit(button);
	} else {
		location.replace(waiting.dataset.page);
	}
}

async function poll() {
	clearTimeout(timer);
	if (asking || over) {
		return;
	}
	asking = true;
	try {
		act(await ask());
		failures = 0;
		button.hidden = true;
	} catch {
		failures++; // offline, or the server restarts: the page stays as it is
		button.hidden = failures < 3;
	} finally {
		asking = false;
	}
	timer = setTimeout(poll, Math.min(pause * 2 ** failures, longestPause));
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
poll();
