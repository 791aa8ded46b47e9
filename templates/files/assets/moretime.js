// Offers more time two minutes before a flow ends, says how long is left, and
// asks for it in the background, so that what was typed stays. Without this
// script the button is always there and reloads the page.

import { duration } from "./duration.js";

const warned = 120; // seconds before the end that the offer comes
const spoken = [warned, 60, 30, 10]; // seconds left at which that is said

const form = document.querySelector("form[data-more-time]");
const status = form.querySelector("[role=status]");
const button = form.querySelector("button");
const words = form.dataset;

let end; // as the clock has it: timers rest in hidden tabs and sleeping machines
let said; // seconds left that were said last
let timer;
let asking = false;
let before = document.querySelector("main :is(input:not([type=hidden]), button)"); // where the focus was

function say(text) {
	status.textContent = text;
}

function offer(offered) {
	form.classList.toggle("waiting", !offered);
}

function tick() {
	const left = Math.ceil((end - Date.now()) / 1000);
	if (left <= 0) {
		offer(false);
		say(words.over);
		return;
	}
	if (left > warned) {
		timer = setTimeout(tick, (left - warned) * 1000);
		return;
	}
	// The smallest of the marks that have been reached.
	const mark = spoken.findLast((seconds) => left <= seconds);
	if (mark !== said) {
		said = mark;
		offer(true);
		say(words.left.replace("{time}", duration(left, "long")));
	}
	timer = setTimeout(tick, 1000);
}

function start(seconds) {
	clearTimeout(timer);
	end = Date.now() + seconds * 1000;
	said = undefined;
	tick();
}

// ask returns the seconds that are left now, or 0 where there can't be more.
async function ask() {
	const response = await fetch(form.action, {
		method: "POST",
		body: new URLSearchParams(new FormData(form)),
		headers: { Accept: "application/json" },
	});
	if (response.status >= 500) {
		throw new Error(`more time: status ${response.status}`);
	}
	return response.ok ? (await response.json()).seconds : 0;
}

form.addEventListener("focusin", (event) => {
	if (event.relatedTarget instanceof HTMLElement) {
		before = event.relatedTarget;
	}
});

form.addEventListener("submit", async (event) => {
	event.preventDefault();
	event.stopPropagation();
	if (asking) {
		return;
	}
	asking = true; // not disabled, which would lose the focus
	try {
		const seconds = await ask();
		if (Date.now() + seconds * 1000 > end + 1000) {
			before.focus(); // the button goes
			offer(false);
			say(words.given);
			start(seconds);
		} else {
			say(words.refused);
		}
	} catch {
		say(words.failed);
	} finally {
		asking = false;
	}
});

offer(false);
start(Number(words.moreTime));
