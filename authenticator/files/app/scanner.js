// Reading QR codes by the camera, with the browser's own reader or a vendored one.

async function reader() {
	if ("BarcodeDetector" in window && (await BarcodeDetector.getSupportedFormats()).includes("qr_code")) {
		const detector = new BarcodeDetector({ formats: ["qr_code"] });
		return async (canvas) => (await detector.detect(canvas))[0]?.rawValue;
	}
	const { default: decode } = await import("/app/qr/decode.js");
	return async (canvas, context) => {
		try {
			return decode(context.getImageData(0, 0, canvas.width, canvas.height));
		} catch {
			return undefined; // there is no code in the picture
		}
	};
}

const between = 150; // two pictures, in milliseconds
const widest = 640; // of a picture that is searched

// scan shows the camera's picture in a video element, and calls found with what each
// code says until that returns true. It returns a function that ends it. It is called
// on a tap, and begins without waiting for anything, since browsers ask for permission.
export async function scan(video, found) {
	const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
	let ended = false;
	const end = () => {
		ended = true;
		stream.getTracks().forEach((track) => track.stop());
	};
	video.srcObject = stream;
	await video.play();
	search(video, found, () => ended, end);
	return end;
}

async function search(video, found, isEnded, end) {
	const read = await reader();
	const canvas = document.createElement("canvas");
	const context = canvas.getContext("2d", { willReadFrequently: true });
	while (!isEnded()) {
		const scale = Math.min(1, widest / Math.max(video.videoWidth, video.videoHeight, 1));
		canvas.width = Math.max(1, Math.round(video.videoWidth * scale));
		canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
		context.drawImage(video, 0, 0, canvas.width, canvas.height);
		const said = await read(canvas, context).catch(() => undefined);
		if (said && !isEnded() && found(said)) {
			end();
			return;
		}
		await new Promise((resolve) => setTimeout(resolve, between));
	}
}

// linked returns what a link to this app is about: { pairing } or { request }; null: it
// is no link to this app.
export function linked(address) {
	let url;
	try {
		url = new URL(address, location.href);
	} catch {
		return null;
	}
	const [, kind, value] = /^#(p|r)=([A-Za-z0-9_-]{1,128})$/.exec(url.hash) ?? [];
	if (url.origin !== location.origin || !value) {
		return null;
	}
	return kind === "p" ? { pairing: value } : { request: value };
}
