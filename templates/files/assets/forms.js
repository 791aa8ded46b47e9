// Sends each form once: a second click or Enter while the answer is on its way
// does nothing. After the back button, the buttons work again.

const sending = new WeakSet();

function setDisabled(form, disabled) {
	for (const button of form.querySelectorAll("button[type=submit]")) {
		button.disabled = disabled;
	}
}

document.addEventListener("submit", (event) => {
	const form = event.target;
	if (sending.has(form)) {
		event.preventDefault();
		return;
	}
	sending.add(form);
	// Only after the browser has gathered what it sends.
	setTimeout(() => setDisabled(form, true));
});

window.addEventListener("pageshow", () => {
	for (const form of document.forms) {
		sending.delete(form);
		setDisabled(form, false);
	}
});

// E-mails to the reader give times in this zone.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) {
	document.cookie = `__Host-mfa-zone=${encodeURIComponent(zone)}; Path=/; Max-Age=31536000; SameSite=Lax; Secure`;
}
