// What WebAuthn asks and answers, as JSON (Level 3 §5.1.8, §5.1.9).

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

function writeResponse(kind, response) {
	const clientDataJSON = encode(response.clientDataJSON);
	if (kind === "create") {
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

function write(kind, credential) {
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
			response: writeResponse(kind, credential.response),
		});
	}
}

// ask asks the browser to "get" a credential or to "create" one, and returns
// what it answers.
export async function ask(kind, options, more) {
	return write(kind, await navigator.credentials[kind]({ ...more, publicKey: readers[kind](options) }));
}
