// A phone's key for one account: P-256, not exportable. Messages are signed as compact
// JWS with ES256.

import { base64url, sha256, utf8 } from "./bytes.js";

const curve = { name: "ECDSA", namedCurve: "P-256" };

// makeKey returns the private key, its public half as a JWK, and its thumbprint
// (RFC 7638), by which the server knows it.
export async function makeKey() {
	const pair = await crypto.subtle.generateKey(curve, false, ["sign", "verify"]);
	const { x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
	const jwk = { kty: "EC", crv: "P-256", x, y };
	const canonical = JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x, y });
	return { key: pair.privateKey, jwk, thumbprint: base64url(await sha256(utf8(canonical))) };
}

// sign returns a message of a type, signed by an account's key. It names the key, or
// carries it if the server doesn't know it yet.
export async function sign(type, account, claims) {
	const header = { alg: "ES256", typ: `portcullis-${type}+jwt` };
	if (account.jwk) {
		header.jwk = account.jwk;
	} else {
		header.kid = account.thumbprint;
	}
	const input = `${base64url(utf8(JSON.stringify(header)))}.${base64url(utf8(JSON.stringify(claims)))}`;
	const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, account.key, utf8(input));
	return `${input}.${base64url(signature)}`;
}
