// Reads a notification as a phone does, with http_ece, and the token of its sender with
// Node's own cryptography. It takes {body, key, secret, authorization} in JSON, all binary
// values in base64url, and prints {content, claims, key} in JSON.
const crypto = require("crypto");
const ece = require("http_ece");

const given = JSON.parse(require("fs").readFileSync(0, "utf8"));

// RFC 8291
const receiver = crypto.createECDH("prime256v1");
receiver.setPrivateKey(Buffer.from(given.key, "base64url"));
const content = ece.decrypt(Buffer.from(given.body, "base64url"), {
	version: "aes128gcm", privateKey: receiver, authSecret: given.secret,
});

// RFC 8292
const [, token, key] = /^vapid t=(\S+), k=(\S+)$/.exec(given.authorization);
const [header, payload, signature] = token.split(".");
const point = Buffer.from(key, "base64url");
const jwk = { kty: "EC", crv: "P-256", x: point.subarray(1, 33).toString("base64url"), y: point.subarray(33).toString("base64url") };
const signer = { key: crypto.createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" };
if (!crypto.verify("sha256", Buffer.from(`${header}.${payload}`), signer, Buffer.from(signature, "base64url"))) {
	throw new Error("the token's signature is wrong");
}
const read = (part) => JSON.parse(Buffer.from(part, "base64url"));
if (read(header).alg !== "ES256") {
	throw new Error("the token has another algorithm");
}
console.log(JSON.stringify({ content: JSON.parse(content), claims: read(payload), key }));
