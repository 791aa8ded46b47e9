// Adding an account: the phone makes a key, sends it with the token of the QR code or
// the code that was typed, and shows digits that the person types on the computer.

import { fromBase64url, sha256, utf8 } from "./bytes.js";
import { makeKey } from "./key.js";
import { described, digest, subscription } from "./notifications.js";
import { ask, Refused } from "./server.js";
import { amend, forget, keep } from "./storage.js";
import { codeAt, importTOTP } from "./totp.js";

// begin sends a new key, and returns the account that comes of it.
export async function begin(offer, name) {
	const made = await makeKey();
	const subscribed = await subscription();
	const answer = await ask("pair", made, { ...offer, name, subscription: described(subscribed) });
	const account = {
		thumbprint: made.thumbprint,
		key: made.key,
		name: answer.account,
		state: "pairing",
		digits: await digitsOf(answer.pairing, made.thumbprint),
		told: await digest(subscribed),
		added: Date.now(),
	};
	await keep(account);
	return account;
}

// digitsOf returns the six digits that stand for a pairing and a key. The app computes
// them by itself, so a stranger's key gives others.
async function digitsOf(pairing, thumbprint) {
	const digest = await sha256(utf8(`portcullis-pair-v1\n${pairing}${thumbprint}`));
	const number = new DataView(digest.buffer).getBigUint64(0) % 1000000n;
	return String(number).padStart(6, "0");
}

// proceed asks whether the digits were typed, and finishes then. It returns "waiting",
// "done" or "gone".
export async function proceed(account) {
	try {
		if (!account.totp) {
			const answer = await ask("paired", account);
			if (!answer.totp) {
				return "waiting";
			}
			await amend(account, { totp: await importTOTP(answer.totp) });
		}
		await ask("ready", account, { code: await codeAt(account.totp, Date.now()) });
	} catch (failure) {
		if (!(failure instanceof Refused)) {
			throw failure;
		}
		if ([404, 410].includes(failure.status)) {
			await forget(account);
			return "gone";
		}
		// An answer may have been lost: then it is settled already.
		if (failure.state !== "settled") {
			throw failure;
		}
	}
	await amend(account, { state: "active" });
	return "done";
}
