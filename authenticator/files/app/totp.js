// One-time codes (RFC 6238), from an HMAC key that can't be exported.

const hashes = { SHA1: "SHA-1", SHA256: "SHA-256", SHA512: "SHA-512" };

function fromBase32(text) {
	const bytes = [];
	let bits = 0;
	let value = 0;
	for (const character of text.replaceAll(" ", "").replaceAll("=", "")) {
		value = (value << 5) | "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(character);
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			bytes.push((value >> bits) & 0xff);
			value &= (1 << bits) - 1;
		}
	}
	return Uint8Array.from(bytes);
}

// importTOTP keeps what the server handed out, an otpauth URI.
export async function importTOTP(uri) {
	const parameters = new URL(uri).searchParams;
	const hash = hashes[parameters.get("algorithm") ?? "SHA1"];
	const secret = fromBase32(parameters.get("secret"));
	const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash }, false, ["sign"]);
	return { key, digits: Number(parameters.get("digits") ?? 6), period: Number(parameters.get("period") ?? 30) };
}

// codeAt returns the code at a time in milliseconds.
export async function codeAt({ key, digits, period }, time) {
	const step = new DataView(new ArrayBuffer(8));
	step.setBigUint64(0, BigInt(Math.floor(time / 1000 / period)));
	const mac = new DataView(await crypto.subtle.sign("HMAC", key, step.buffer));
	const offset = mac.getUint8(mac.byteLength - 1) & 0x0f;
	const number = (mac.getUint32(offset) & 0x7fffffff) % 10 ** digits;
	return String(number).padStart(digits, "0");
}

// secondsLeft returns how long the code at a time is still shown.
export const secondsLeft = ({ period }, time) => period - (Math.floor(time / 1000) % period);

// grouped returns a code in two halves, as it is read.
export function grouped(code) {
	const half = Math.ceil(code.length / 2);
	return code.length < 5 ? code : `${code.slice(0, half)} ${code.slice(half)}`;
}
