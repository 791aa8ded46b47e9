// Asks the browser for a security key or passkey and sends what it answers, by
// the form whose data-fido says what to do: "get" one that is set up, or
// "create" a new one. The words are the page's.

const form = document.querySelector("form[data-fido]");
const button = form.querySelector("button[type=submit]");
const status = form.querySelector("[data-fido-status]");
const problem = form.querySelector("[data-fido-problem]");
const said = problem.querySelector("span");
const failed = said.textContent;
const answer = form.elements.namedItem("credential");
const words = form.dataset;

const soon = 1000; // milliseconds in which nobody can have said no

let asking; // what can call off the question that is open

// Older browsers can neither read options from JSON nor write answers as such.

function decode(text) {
	const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
	return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function encode(buffer) {
	const binary = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
	return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function descriptors(list = []) {
	return list.map((descriptor) => ({ ...descriptor, id: decode(descriptor.id) }));
}

const readers = {
	get(json) {
		return PublicKeyCredential.parseRequestOptionsFromJSON?.(json) ?? {
			...json,
			challenge: decode(json.challenge),
			allowCredentials: descriptors(json.allowCredentials),
		};
	},
	create(json) {
		return PublicKeyCredential.parseCreationOptionsFromJSON?.(json) ?? {
			...json,
			challenge: decode(json.challenge),
			user: { ...json.user, id: decode(json.user.id) },
			excludeCredentials: descriptors(json.excludeCredentials),
		};
	},
};

function writeResponse(response) {
	const clientDataJSON = encode(response.clientDataJSON);
	if (words.fido === "create") {
		return {
			clientDataJSON,
			attestationObject: encode(response.attestationObject),
			transports: response.getTransports?.() ?? [],
		};
	}
	return {
		clientDataJSON,
		authenticatorData: encode(response.authenticatorData),
		signature: encode(response.signature),
		userHandle: response.userHandle ? encode(response.userHandle) : undefined,
	};
}

function write(credential) {
	try {
		return JSON.stringify(credential.toJSON());
	} catch {
		// There is none, or it isn't the browser's own: password managers put
		// theirs in the place of it.
		return JSON.stringify({
			id: credential.id,
			rawId: encode(credential.rawId),
			type: credential.type,
			authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
			clientExtensionResults: {},
			response: writeResponse(credential.response),
		});
	}
}

function say(text) {
	said.textContent = text;
	problem.hidden = text === "";
}

function explain(error) {
	switch (error.name) {
	case "NotAllowedError":
		return words.notAllowed;
	case "InvalidStateError":
		return words.already;
	case "SecurityError":
		return words.insecure;
	case "NotSupportedError":
		return words.unable;
	}
	return failed;
}

// ask asks for a key; by itself where nobody has pressed the button.
async function ask(byItself) {
	asking?.abort();
	const mine = asking = new AbortController();
	const begun = Date.now();
	say("");
	status.textContent = words.waiting;
	try {
		const publicKey = readers[words.fido](JSON.parse(words.options));
		answer.value = write(await navigator.credentials[words.fido]({ publicKey, signal: mine.signal }));
		form.requestSubmit();
	} catch (error) {
		if (mine.signal.aborted) {
			return;
		}
		status.textContent = "";
		// Some browsers want to see a click first. There is nothing to tell then.
		if (!(byItself && error.name === "NotAllowedError" && Date.now() - begun < soon)) {
			say(explain(error));
		}
	}
}

form.addEventListener("submit", (event) => {
	if (answer.value === "") {
		event.preventDefault();
		event.stopPropagation(); // nothing is sent yet
		ask(false);
	}
});

// Who comes back with the back button is asked anew.
window.addEventListener("pageshow", () => {
	answer.value = "";
});

if (!window.isSecureContext) {
	say(words.insecure);
} else if (!window.PublicKeyCredential) {
	say(words.unable);
} else {
	for (const element of form.querySelectorAll("[data-fido-ready]")) {
		element.hidden = false;
	}
	if (words.fido === "get") {
		button.focus();
	}
	if ("atOnce" in words) {
		ask(true);
	}
}
