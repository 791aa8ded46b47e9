// Says in the field "passkeys" of a form that this device can keep a passkey, so
// that whoever signs in by something weaker may be offered one. Without this
// script nobody is.

const field = document.querySelector("input[name=passkeys]");

async function able() {
	const credential = window.PublicKeyCredential;
	if (!credential) {
		return false;
	}
	return await credential.isUserVerifyingPlatformAuthenticatorAvailable?.() ?? true;
}

if (field) {
	able().then((can) => {
		field.value = can ? "yes" : "";
	}, () => {}); // a browser that can't tell can't
}
