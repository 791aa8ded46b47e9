// Sends a code as soon as it is whole: as many digits as the input's
// data-digits says, with spaces and hyphens between them or not. It does so
// once, and not after the person has sent the form without waiting for it.

for (const input of document.querySelectorAll("input[data-digits]")) {
	const whole = new RegExp(`^[0-9]{${Number(input.dataset.digits)}}$`);
	let sent = false;

	input.form.addEventListener("submit", () => {
		sent = true;
	});
	input.addEventListener("input", () => {
		if (!sent && whole.test(input.value.replace(/[\s-]/g, ""))) {
			input.form.requestSubmit();
		}
	});
}
