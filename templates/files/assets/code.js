// Sends a code as soon as it is whole: as many digits as the input's
// data-digits says, of whatever script, with blanks between them, a dash, or
// nothing. It does so once, and not after the person has sent the form without
// waiting for it.

for (const input of document.querySelectorAll("input[data-digits]")) {
	const whole = new RegExp(`^\\p{Nd}(\\p{Dash}?\\p{Nd}){${Number(input.dataset.digits) - 1}}$`, "u");
	let sent = false;

	input.form.addEventListener("submit", () => {
		sent = true;
	});
	input.addEventListener("input", () => {
		if (!sent && whole.test(input.value.replace(/[\s\p{Cf}]/gu, ""))) {
			input.form.requestSubmit();
		}
	});
}
