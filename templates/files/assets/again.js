// Loads a page that answered a form once more, with what was sent. That works
// inside a frame too, where the browser's own button would load the page around
// it and lose what was typed.

for (const element of document.querySelectorAll("[data-again-with]")) {
	element.hidden = false;
}
for (const element of document.querySelectorAll("[data-again-without]")) {
	element.hidden = true;
}
document.querySelector("[data-again]").addEventListener("click", () => location.reload());
