// Counts down until one may try again, and offers the page's action, if it has
// one, only then.
// The seconds tick for the eye; a screen reader hears each full minute, the
// last ten seconds once, and the end.

const notice = document.querySelector("[data-seconds]");
const shown = notice.querySelector("[data-countdown-text]");
const status = document.querySelector("[data-countdown-status]");
const action = document.querySelector("[data-countdown-action]");

// Time as the clock has it: timers rest in hidden tabs and sleeping machines.
const total = Number(notice.dataset.seconds);
const end = Date.now() + total * 1000;

const spokenFor = 5000; // milliseconds that a spoken text stays on the page
let silence;

function words(left) {
	const minutes = Math.floor(left / 60);
	const seconds = left % 60;
	return [minutes > 0 && `${minutes} min`, seconds > 0 && `${seconds} s`].filter(Boolean).join(" ");
}

function counted(n, unit) {
	return n === 1 ? `1 ${unit}` : `${n} ${unit}s`;
}

function speak(text) {
	status.textContent = text;
	clearTimeout(silence);
	silence = setTimeout(() => {
		status.textContent = "";
	}, spokenFor);
}

function finish() {
	shown.textContent = "You can try again now.";
	speak(shown.textContent);
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
	shown.textContent = `Try again in ${words(left)}.`;
	if (left < total && left % 60 === 0) {
		speak(`Try again in ${counted(left / 60, "minute")}.`);
	} else if (left < total && left === 10) {
		speak("Try again in 10 seconds.");
	}
	setTimeout(tick, milliseconds % 1000 || 1000);
}

if (action) {
	action.hidden = true;
}
tick();
