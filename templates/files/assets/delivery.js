// Says what became of the message with the code as soon as the server knows. Without
// this script, the page says it when it is loaded again.

const element = document.querySelector("[data-delivery]");
const final = ["handed_over", "failed"];
const longestPause = 15000; // milliseconds between two questions to the server

let pause = 2000;
let timer;

function show(delivery, said) {
	const unsent = delivery === "failed";
	for (const notice of element.querySelectorAll(".notice")) {
		const isMeant = notice.matches(unsent ? "[data-delivery-unsent]" : "[data-delivery-said]");
		notice.hidden = !isMeant;
		if (isMeant && notice.lastElementChild.textContent !== said) {
			notice.lastElementChild.textContent = said;
		}
	}
	for (const lead of document.querySelectorAll("[data-delivery-lead]")) {
		lead.hidden = unsent;
	}
	for (const address of document.querySelectorAll("[data-delivery-address]")) {
		address.hidden = !unsent;
	}
}

async function ask() {
	clearTimeout(timer);
	try {
		const response = await fetch(element.dataset.delivery, {
			headers: { Accept: "application/json" },
			cache: "no-store",
		});
		if (response.ok) {
			const { progress, delivery, said } = await response.json();
			if (said) {
				show(delivery, said);
			}
			if (progress !== "waiting" || final.includes(delivery)) {
				return;
			}
		}
	} catch {
		// offline, or the server restarts
	}
	timer = setTimeout(ask, pause);
	pause = Math.min(pause * 1.5, longestPause);
}

timer = setTimeout(ask, pause);
