// Counts down until one may try again, and offers the page's action, if it has
// one, only then.
// The seconds tick for the eye; a screen reader hears each full minute, the
// last ten seconds once, and the end. The words are the page's.

import { duration } from "./duration.js";

const notice = document.querySelector("[data-seconds]");
const shown = notice.querySelector("[data-countdown-text]");
const status = document.querySelector("[data-countdown-status]");
const action = document.querySelector("[data-countdown-action]");
const { again, now } = notice.dataset;

// Time as the clock has it: timers rest in hidden tabs and sleeping machines.
const total = Number(notice.dataset.seconds);
const end = Date.now() + total * 1000;

const spokenFor = 5000; // milliseconds that a spoken text stays on the page
let silence;

function speak(text) {
	status.textContent = text;
	clearTimeout(silence);
	silence = setTimeout(() => {
		status.textContent = "";
	}, spokenFor);
}

function finish() {
	shown.textContent = now;
	speak(now);
	if (action) {
		action.hidden = false;
	}
}

function tick() {
	const milliseconds = end - Date.now();
	if (milliseconds <= 0) {
		finish();
		return;
	}
	const left = Math.ceil(milliseconds / 1000);
	shown.textContent = again.replace("{time}", duration(left, "short"));
	if (left < total && (left % 60 === 0 || left === 10)) {
		speak(again.replace("{time}", duration(left, "long")));
	}
	setTimeout(tick, milliseconds % 1000 || 1000);
}

if (action) {
	action.hidden = true;
}
tick();
