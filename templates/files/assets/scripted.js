// Puts in place what only scripts use. It comes inside script elements: text browsers
// show what is hidden, and what is inside template elements. This runs before the modules
// of the page, which look for it, and before the page is shown.

for (const block of document.querySelectorAll('script[type="text/html"]')) {
	block.replaceWith(...new DOMParser().parseFromString(block.text, "text/html").body.childNodes);
}
