// Shows and hides what was typed into the password input that a button's
// data-reveal names.

for (const button of document.querySelectorAll("button[data-reveal]")) {
	const input = document.getElementById(button.dataset.reveal);
	const label = button.querySelector("[data-reveal-label]");
	const words = label.textContent;

	const show = (visible) => {
		input.type = visible ? "text" : "password";
		label.textContent = visible ? button.dataset.hide : words;
	};
	button.addEventListener("click", () => show(input.type === "password"));
	// Browsers remember what was typed into text inputs, and so must not see one.
	input.form.addEventListener("submit", () => show(false));
	button.hidden = false;
}
