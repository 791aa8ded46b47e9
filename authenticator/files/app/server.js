// The app's API: docs/push-protocol.md.

import { sign } from "./key.js";

// Refused is an answer of the server that isn't a success.
export class Refused extends Error {
	constructor(status, body, retryAfter) {
		super(`refused with ${status}`);
		this.status = status;
		this.state = body?.state;
		this.retryAfter = retryAfter;
	}
}

const lifetime = 60000; // of a nonce, in milliseconds; the server takes it for longer
let current = null;

// fresh returns a nonce, the server's clock, the key for notifications, and what identifies
// the server's data.
export async function fresh() {
	if (current && performance.now() - current.at < lifetime) {
		return current;
	}
	const before = Date.now();
	const response = await fetch("/api/nonce", { method: "POST", cache: "no-store" });
	if (!response.ok) {
		throw await refusal(response);
	}
	const { nonce, time, vapid, data } = await response.json();
	const local = (before + Date.now()) / 2;
	current = { nonce, vapid, data, ahead: local - time * 1000, at: performance.now() };
	return current;
}

// freshest is fresh, asked anew.
export function freshest() {
	current = null;
	return fresh();
}

// ahead returns by how many seconds the phone's clock is ahead of the server's; null:
// it isn't known.
export const ahead = () => (current ? current.ahead / 1000 : null);

async function refusal(response) {
	const body = await response.json().catch(() => null);
	return new Refused(response.status, body, Number(response.headers.get("Retry-After")) || 0);
}

// send posts a signed message and returns the response. A nonce that has just expired
// is replaced once.
export async function send(type, account, claims = {}, signal = undefined) {
	for (let attempt = 0; ; attempt++) {
		const { nonce } = await fresh();
		const response = await fetch(`/api/${type}`, {
			method: "POST",
			headers: { "Content-Type": "application/jose" },
			body: await sign(type, account, { aud: location.origin, nonce, ...claims }),
			cache: "no-store",
			signal,
		});
		if (response.ok) {
			return response;
		}
		if (response.status !== 401 || attempt > 0) {
			throw await refusal(response);
		}
		current = null;
	}
}

// ask is send for an answer in JSON.
export async function ask(type, account, claims) {
	const response = await send(type, account, claims);
	return response.status === 204 ? {} : response.json();
}
