// Fills in a code that arrives in a text message for this site (WebOTP API), if the
// browser can and the person agrees, and sends it as code.js would. People can type
// it all the same.

const input = document.querySelector("input[data-webotp]");
if (input && "OTPCredential" in window) {
	const over = new AbortController();
	input.form.addEventListener("submit", () => over.abort());
	navigator.credentials
		.get({ otp: { transport: ["sms"] }, signal: over.signal })
		.then(({ code }) => {
			if (input.value === "") {
				input.value = code;
				input.dispatchEvent(new Event("input"));
			}
		})
		.catch(() => {}); // refused or given up: the person types the code
}
