// Requests to sign in: asking for them, and answering.

import { base64url, fromBase64url, sha256, utf8 } from "./bytes.js";
import { digest, renew, subscription } from "./notifications.js";
import { ask, fresh, freshest, Refused } from "./server.js";
import { accounts, amend } from "./storage.js";

// open returns the open requests of all accounts. An account that the server has
// removed loses its keys and is kept as removed, so that the person hears of it. An
// account that can't be asked now is passed over; the first failure is returned if
// none could be asked.
export async function open() {
	const active = (await accounts()).filter((account) => account.state === "active");
	const subscribed = await subscription();
	const hash = await digest(subscribed);
	const answers = await Promise.allSettled(active.map((account) => requestsOf(account, subscribed, hash)));
	const failed = answers.filter(({ status }) => status === "rejected");
	if (active.length > 0 && failed.length === active.length) {
		throw failed[0].reason;
	}
	return answers.filter(({ status }) => status === "fulfilled").flatMap(({ value }) => value);
}

async function requestsOf(account, subscribed, hash) {
	try {
		const answer = await ask("list", account, { subscription: hash });
		const { data } = await fresh();
		const name = answer.account || account.name;
		if (name !== account.name || data !== account.data || account.unknown) {
			await amend(account, { name, data, unknown: false });
		}
		if (answer.subscribe && subscribed) {
			await renew(account, subscribed).catch(() => {}); // it works without
		}
		return await Promise.all(answer.requests.map(({ display }) => read(account, display)));
	} catch (failure) {
		if (failure instanceof Refused && failure.status === 409) {
			return []; // the computer hasn't finished the pairing yet
		}
		if (failure instanceof Refused && failure.status === 410) {
			await markGone(account);
			return [];
		}
		throw failure;
	}
}

// codeLength is the length of a request's code. Those of pairings are longer.
export const codeLength = 6;

const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; // Crockford's base 32

// codeOf returns what the sign-in page shows of a request for people to type.
async function codeOf(id) {
	const digest = await sha256(utf8(`portcullis-request-v1\n${id}`));
	return Array.from(digest.subarray(0, codeLength), (byte) => letters[byte % letters.length]).join("");
}

// withCode returns the id of the open request with a code, in which letters that look
// alike count as one; undefined: there is none.
export async function withCode(typed) {
	const meant = typed.replaceAll("O", "0").replace(/[IL]/g, "1");
	const ids = (await open()).map(({ display }) => display.id);
	const codes = await Promise.all(ids.map(codeOf));
	return ids[codes.indexOf(meant)];
}

// markGone keeps what the server says: it doesn't know the account. If the server's data
// is another than before, it was restored from a backup, and another restore may bring the
// account back. Else it was removed.
async function markGone(account) {
	const { data } = await freshest();
	if (account.data && account.data !== data) {
		return amend(account, { unknown: true });
	}
	return markRemoved(account);
}

// read reads what the server wants displayed. The hash over exactly these bytes is
// signed with the answer.
async function read(account, shown) {
	const bytes = fromBase64url(shown);
	const display = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
	return { account, display, hash: base64url(await sha256(bytes)) };
}

export const markRemoved = (account) => amend(account, { key: undefined, totp: undefined, state: "removed" });

// answer sends a decision and returns the state that came of it.
export async function answer(request, decision, number = undefined) {
	const claims = { request: request.display.id, shown: request.hash, decision };
	if (decision === "allow") {
		claims.number = number;
	}
	try {
		return (await ask("answer", request.account, claims)).state;
	} catch (failure) {
		if (failure instanceof Refused && failure.status === 409) {
			return failure.state;
		}
		if (failure instanceof Refused && failure.status === 404) {
			return "expired";
		}
		throw failure;
	}
}
