// Tells browsers that can pass it on to authenticators what has become of
// passkeys (WebAuthn Level 3 §5.1.10). Nothing depends on it: where a browser
// can't, or doesn't want to, all goes on.

// signal calls one of the methods that begin with "signal", where there is one.
async function signal(method, options) {
	try {
		await window.PublicKeyCredential?.[method]?.(options);
	} catch {
		// An authenticator that doesn't listen asks about the passkey once more.
	}
}

// signalUnknown tells that a passkey that was shown isn't known here, or not any
// more. credentialId is in base64url, as the browser gave it.
export function signalUnknown(rpId, credentialId) {
	return signal("signalUnknownCredential", { rpId, credentialId });
}

// The page of somebody's keys holds what is to be told after a change.
const page = document.querySelector("[data-signal-accepted]");
if (page) {
	signal("signalAllAcceptedCredentials", JSON.parse(page.dataset.signalAccepted));
	signal("signalCurrentUserDetails", JSON.parse(page.dataset.signalDetails));
}
