// Copies the text of the element that a button's data-copy names (a list: one
// line an entry; with data-copy-compact: without spaces) and prints the page.

const confirmed = 2000; // milliseconds that the button says so

// Screen readers don't announce a button whose text changes. They announce this.
const status = document.createElement("p");
status.className = "visually-hidden";
status.setAttribute("role", "status");
document.querySelector("main").append(status);

function textOf(element, compact) {
	const entries = element.querySelectorAll("li");
	if (entries.length > 0) {
		return Array.from(entries, (entry) => entry.textContent.trim()).join("\n") + "\n";
	}
	return compact ? element.textContent.replace(/\s/g, "") : element.textContent.trim();
}

// copy returns whether it worked.
async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch {
		return false;
	}
}

function wireCopy(button) {
	const label = button.querySelector("[data-copy-label]");
	const before = label.textContent;
	let timer;

	button.addEventListener("click", async () => {
		const source = document.getElementById(button.dataset.copy);
		const copied = await copy(textOf(source, "copyCompact" in button.dataset));
		label.textContent = copied ? button.dataset.copied : button.dataset.failed;
		status.textContent = label.textContent;
		clearTimeout(timer);
		timer = setTimeout(() => {
			label.textContent = before;
			status.textContent = "";
		}, confirmed);
	});
	button.hidden = false;
}

// Browsers offer the clipboard on secure origins only.
if (navigator.clipboard) {
	document.querySelectorAll("button[data-copy]").forEach(wireCopy);
}

for (const button of document.querySelectorAll("button[data-print]")) {
	button.addEventListener("click", () => window.print());
	button.hidden = false;
}
